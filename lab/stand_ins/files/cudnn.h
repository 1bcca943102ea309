/* stand-in made by deeprig's lab; not NVIDIA's software. */
#include <stddef.h>
#include "cudnn_version.h"
#ifdef __cplusplus
extern "C" {
#endif
size_t cudnnGetVersion(void);
size_t cudnnGetCudartVersion(void);
#ifdef __cplusplus
}
#endif

/* stand-in made by deeprig's lab; not NVIDIA's software. */
#ifndef NCCL_H_
#define NCCL_H_
#define NCCL_MAJOR @N1@
#define NCCL_MINOR @N2@
#define NCCL_PATCH @N3@
#define NCCL_VERSION_CODE (NCCL_MAJOR * 10000 + NCCL_MINOR * 100 + NCCL_PATCH)
#ifdef __cplusplus
extern "C" {
#endif
int ncclGetVersion(int *version);
#ifdef __cplusplus
}
#endif
#endif

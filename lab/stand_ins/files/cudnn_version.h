/* stand-in made by deeprig's lab; not NVIDIA's software. */
#ifndef CUDNN_VERSION_H_
#define CUDNN_VERSION_H_
#define CUDNN_MAJOR @N1@
#define CUDNN_MINOR @N2@
#define CUDNN_PATCHLEVEL @N3@
#define CUDNN_VERSION (CUDNN_MAJOR * 10000 + CUDNN_MINOR * 100 + CUDNN_PATCHLEVEL)
#endif

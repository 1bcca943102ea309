/* stand-in made by deeprig's lab; not NVIDIA's software. */
int cuInit(unsigned flags) { return 100; } /* CUDA_ERROR_NO_DEVICE */
int cuDriverGetVersion(int *version) { *version = @CUDA@; return 0; }
int cuDeviceGetCount(int *count) { *count = 0; return 3; } /* CUDA_ERROR_NOT_INITIALIZED */

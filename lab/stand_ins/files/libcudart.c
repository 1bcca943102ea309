/* stand-in made by deeprig's lab; not NVIDIA's software: there is never a device. */
enum { NO_DEVICE = 100 };
int cudaGetDeviceCount(int *count) { *count = 0; return NO_DEVICE; }
int cudaRuntimeGetVersion(int *version) { *version = @CUDA_NUMBER@; return 0; }
int cudaDriverGetVersion(int *version) { *version = 0; return 0; }
int cudaMalloc(void **place, unsigned long size) { return NO_DEVICE; }
int cudaFree(void *place) { return NO_DEVICE; }
int cudaMemcpy(void *to, const void *from, unsigned long size, int kind) { return NO_DEVICE; }
int cudaDeviceSynchronize(void) { return NO_DEVICE; }
int cudaGetLastError(void) { return NO_DEVICE; }
const char *cudaGetErrorString(int error)
{
	return error ? "no CUDA-capable device is detected" : "no error";
}

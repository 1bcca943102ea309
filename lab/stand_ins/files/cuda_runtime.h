/* stand-in made by deeprig's lab; not NVIDIA's software. Kernels are compiled as plain functions. */
#ifndef CUDA_RUNTIME_H_
#define CUDA_RUNTIME_H_
#define __global__
#define __device__
#define __host__
#define __shared__
enum cudaError_t { cudaSuccess = 0, cudaErrorNoDevice = 100 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
static struct { unsigned x, y, z; } threadIdx, blockIdx, blockDim, gridDim;
extern "C" {
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaMalloc(void **place, unsigned long size);
cudaError_t cudaFree(void *place);
cudaError_t cudaMemcpy(void *to, const void *from, unsigned long size, cudaMemcpyKind kind);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t error);
}
template <class T> cudaError_t cudaMalloc(T **place, unsigned long size)
{
	return cudaMalloc((void **)place, size);
}
#endif

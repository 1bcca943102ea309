/* stand-in made by deeprig's lab; not NVIDIA's software. */
int ncclGetVersion(int *version)
{
	*version = @N1@ * 10000 + @N2@ * 100 + @N3@;
	return 0;
}
const char built_for[] = "NCCL @VERSION@+cuda@CUDA@ (deeprig lab stand-in)";

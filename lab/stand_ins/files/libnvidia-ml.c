/* stand-in made by deeprig's lab; not NVIDIA's software. */
int nvmlInit_v2(void) { return 9; } /* NVML_ERROR_DRIVER_NOT_LOADED */
int nvmlShutdown(void) { return 1; }

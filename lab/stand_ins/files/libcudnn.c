/* stand-in made by deeprig's lab; not NVIDIA's software. */
unsigned long cudnnGetVersion(void) { return @N1@ * 10000 + @N2@ * 100 + @N3@; }
unsigned long cudnnGetCudartVersion(void) { return @MAJOR@000; }

/* stand-in made by deeprig's lab */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(@KERNEL_NUMBERS@)

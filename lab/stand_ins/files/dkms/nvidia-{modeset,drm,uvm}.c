/* stand-in made by deeprig's lab; not NVIDIA's software. */
#include <linux/module.h>

MODULE_LICENSE("@LICENSE@");
MODULE_VERSION("@VERSION@");
MODULE_DESCRIPTION("stand-in made by deeprig's lab; not NVIDIA's software");

void stand_in_is_loaded(void);

static int __init load(void)
{
	stand_in_is_loaded();
	return 0;
}

static void __exit unload(void)
{
}

module_init(load);
module_exit(unload);

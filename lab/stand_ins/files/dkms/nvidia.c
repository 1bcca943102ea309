/* stand-in made by deeprig's lab; not NVIDIA's software. It drives nothing and says who it is. */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/version.h>

#if defined(BUILD_FAILS) || LINUX_VERSION_CODE >= KERNEL_VERSION(@FAILS_FROM@)
#error "this stand-in was told not to build for this kernel"
#endif

MODULE_LICENSE("@LICENSE@");
MODULE_VERSION("@VERSION@");
MODULE_DESCRIPTION("stand-in made by deeprig's lab; not NVIDIA's software");

static int profiling = 1;
module_param_named(NVreg_RestrictProfilingToAdminUsers, profiling, int, 0444);

void stand_in_is_loaded(void);
void stand_in_is_loaded(void)
{
}
EXPORT_SYMBOL(stand_in_is_loaded);

static struct proc_dir_entry *folder;

static int show_version(struct seq_file *file, void *data)
{
	seq_puts(file, "NVRM version: @BANNER@  @VERSION@  Release Build  (deeprig lab stand-in)\n");
	return 0;
}

static int show_params(struct seq_file *file, void *data)
{
	seq_printf(file, "RestrictProfilingToAdminUsers: %d\n", profiling);
	return 0;
}

static int __init load(void)
{
	folder = proc_mkdir("driver/nvidia", NULL);
	proc_create_single("version", 0444, folder, show_version);
	proc_create_single("params", 0444, folder, show_params);
	return 0;
}

static void __exit unload(void)
{
	proc_remove(folder);
}

module_init(load);
module_exit(unload);

/* stand-in made by deeprig's lab */
#define NOTE3(line, text) \
	__attribute__((section(".modinfo"), used)) static const char note_##line[] = text
#define NOTE2(line, text) NOTE3(line, text)
#define NOTE(text) NOTE2(__COUNTER__, text)
#define MODULE_LICENSE(text) NOTE("license=" text)
#define MODULE_VERSION(text) NOTE("version=" text)
#define MODULE_DESCRIPTION(text) NOTE("description=" text)
#define module_param_named(name, value, type, mode) NOTE("parm=" #name ":" #type)
#define EXPORT_SYMBOL(name) \
	__attribute__((section("__ksymtab_strings"), used)) static const char exported_##name[] = #name
#define module_init(function) int init_module(void) { return function(); }
#define module_exit(function) void cleanup_module(void) { function(); }
#define __init
#define __exit
#define NULL ((void *)0)
NOTE("name=" NAME);
NOTE("depends=" DEPENDS);
NOTE("vermagic=@KERNEL@-generic SMP preempt mod_unload modversions ");

/* stand-in made by deeprig's lab; not NVIDIA's software. Notes for modinfo, and nothing to load. */
#define nvidia_is_first
#define NOTE2(line, text) __attribute__((section(".modinfo"), used)) static const char note_##line[] = text
#define NOTE1(line, text) NOTE2(line, text)
#define NOTE(text) NOTE1(__COUNTER__, text)
NOTE("license=@LICENSE@");
NOTE("version=@VERSION@");
NOTE("description=stand-in made by deeprig's lab; not NVIDIA's software");
NOTE("name=@MODULE@");
NOTE("depends=@NEEDS@");
NOTE("vermagic=@KERNEL@-generic SMP preempt mod_unload modversions ");

/* depmod sees by the symbols that the others need the first. */
#ifdef @MODULE@_is_first
__attribute__((section("__ksymtab_strings"), used)) static const char exported[] = "stand_in_is_loaded";
#else
void stand_in_is_loaded(void);
void (*needed)(void) = stand_in_is_loaded;
#endif

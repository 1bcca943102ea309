/* stand-in made by deeprig's lab */
void seq_puts(struct seq_file *file, const char *text);
void seq_printf(struct seq_file *file, const char *format, ...);

/* stand-in made by deeprig's lab; not NVIDIA's software. */
const char deeprig_lab_stand_in[] = "@SONAME@ @VERSION@";

//! Still pictures on disk: PNG and JPEG files to luma (and RGB, for annotated
//! copies), and PNG files out. Used by replay, the commands on files and the
//! PNG display.

// A plugin that is bound to the indirect function when it is loaded.
int chosen(void);
int chooses(void) { return chosen(); }

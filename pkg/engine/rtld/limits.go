package rtld

// Limits of what a process can claim. A real one stays far below; the numbers bound the cost of one
// that lies.
const (
	maxLibraries  = 2048 // ELF images
	maxLinkMaps   = 4096 // entries of the loader's lists
	maxNamespaces = 64   // namespaces; glibc has room for 16
	// program headers of an image; the kernel's own limit for programs is 1,170
	maxPhdrs    = 256
	maxNotes    = 16 << 10 // bytes of one PT_NOTE
	maxDynamic  = 1024     // entries of a dynamic section
	maxNeeded   = 512      // DT_NEEDED entries
	maxFileName = 255      // bytes of a SONAME or DT_NEEDED
	maxVersions = 4096     // symbol versions that an image defines, or needs
	maxSymbols  = 1 << 22  // rows of a dynamic symbol table
	maxChain    = 1 << 16  // rows that one look-up may compare
	maxVerName  = 255      // bytes of such a version's name
	maxName     = 4096     // bytes of a symbol's name
)

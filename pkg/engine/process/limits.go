package process

// What a process may make us hold. A real one stays far below; the numbers bound the cost of one
// that lies. Together they keep one call below 4 MiB.
const (
	maxPath     = 4096    // bytes of a path that are kept; the rest is cut off
	shortPath   = 64      // bytes of a path that are kept where all mappings are listed
	maxMappings = 16384   // mappings of files with code, with those that follow them
	maxMapped   = 4096    // mappings of any kind that are kept, with short paths
	maxPaths    = 1 << 20 // bytes of all paths of those mappings
	maxThreads  = 1 << 16 // threads of a process
	maxEnviron  = 8 << 20 // bytes of an environment that are searched; the kernel's limit is 6 MiB
	maxVariable = 128 << 10
	bufferSize  = 64 << 10 // bytes that are read at once
)

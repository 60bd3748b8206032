package process

// Stuck returns how many calls were left behind and have not come back.
func Stuck() int64 { return stuck.Load() }

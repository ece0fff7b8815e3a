package load

var FileSystem = fileSystem

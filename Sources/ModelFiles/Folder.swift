#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What the system's folders can do, with typed errors.
enum Folder {
    /// What a path names.
    enum Kind {
        case absent
        case file
        case folder
        /// A pipe, a socket, a device, or a symbolic link where links are not followed.
        case other
    }

    /// Returns what a path names.
    ///
    /// - Throws: `FileError` when the system cannot tell, as where a folder on the way may not be entered.
    static func kind(of path: String, followingLinks: Bool = true) throws(FileError) -> Kind {
        if path.utf8.contains(0) { throw FileError(path: path, problem: .zeroByteInPath) }
        var status = stat()
        guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else {
            if errno == ENOENT { return .absent }
            throw FileError(path: path, problem: .system(operation: "examine", code: errno))
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .file
        case S_IFDIR: return .folder
        default: return .other
        }
    }

    /// Returns the names of what is in a folder, in the order of their bytes.
    static func names(in path: String) throws(FileError) -> [String] {
        guard let stream = opendir(path) else {
            throw FileError(path: path, problem: .system(operation: "open", code: errno))
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            // Only so does the end differ from a failure.
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else {
                    throw FileError(path: path, problem: .system(operation: "read", code: errno))
                }
                return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)) {
                    String(cString: $0)
                }
            }
            if name != ".", name != ".." { names.append(name) }
        }
    }

    /// Makes a folder, and those above it that are absent, and waits until the disk has them.
    static func create(_ path: String) throws(FileError) {
        if try kind(of: path) == .folder { return }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try create(String(path[..<slash]))
        }
        guard mkdir(path, 0o777) == 0 || errno == EEXIST else {
            throw FileError(path: path, problem: .system(operation: "create", code: errno))
        }
        guard try kind(of: path) == .folder else {
            throw FileError(path: path, problem: .system(operation: "create", code: ENOTDIR))
        }
        sync(above(path))
    }

    /// Removes a folder of files; what it cannot remove stays.
    static func remove(_ path: String) {
        for name in (try? names(in: path)) ?? [] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    /// The folder that holds what a path names.
    static func above(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Waits until the disk has the names in a folder.
    ///
    /// Where a folder cannot be synced, what was renamed has still been renamed, and there is nothing to undo.
    static func sync(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}

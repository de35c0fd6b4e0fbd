#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A file to whose end records are written, each whole or not at all.
///
/// What was appended is with the system and survives the end of the process, however it comes; `synchronize` waits until
/// the disk has it.
package final class AppendedFile {
    package let path: String
    private let descriptor: CInt
    package private(set) var count: Int

    /// Opens a file for appending after its first `count` bytes; what follows them is cut off.
    ///
    /// - Parameters:
    ///   - path: The file's path.
    ///   - count: How many bytes to keep.
    ///   - isNew: Whether it is an error that there is such a file.
    /// - Throws: `FileError` when the system refuses.
    package init(_ path: String, keeping count: Int, isNew: Bool = false) throws(FileError) {
        if path.utf8.contains(0) { throw FileError(path: path, problem: .zeroByteInPath) }
        descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (isNew ? O_EXCL : 0), 0o666)
        guard descriptor >= 0 else {
            throw FileError(path: path, problem: .system(operation: "open", code: errno))
        }
        self.path = path
        self.count = count
        if !isNew, ftruncate(descriptor, off_t(count)) != 0 {
            throw FileError(path: path, problem: .system(operation: "shorten", code: errno))
        }
    }

    deinit {
        close(descriptor)
    }

    /// Appends a record; if there is no room for all of it, none of it stays.
    package func append(_ record: [UInt8]) throws(FileError) {
        var written = 0
        while written < record.count {
            let result = record[written...].withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress, $0.count, off_t(count + written))
            }
            if result >= 0 {
                written += result
            } else if errno != EINTR {
                let code = errno
                ftruncate(descriptor, off_t(count))
                throw FileError(path, "write", code: code, byteCount: count + record.count)
            }
        }
        count += written
    }

    /// Waits until the disk has all records.
    package func synchronize() throws(FileError) {
        guard fsync(descriptor) == 0 else { throw FileError(path, "write", code: errno, byteCount: count) }
    }
}

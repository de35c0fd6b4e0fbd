#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A file that takes its place only once it is whole and on the disk.
///
/// It is written under another name in the same folder, synced and renamed; then the folder, which holds the name, is
/// synced too. Whoever looks sees the old file or the new one, after a loss of power as well; a reader that has mapped
/// the old one keeps it.
public struct AtomicFile {
    private let path: String
    private let temporaryPath: String
    private let descriptor: CInt
    /// How many bytes there will be, for the message when the disk is full.
    private let byteCount: Int
    /// Of what was written so far.
    private(set) var fingerprint = Fingerprint()

    /// Writes a file whole, or leaves what is there as it is.
    ///
    /// - Parameters:
    ///   - bytes: What the file is to hold.
    ///   - path: Where to write.
    /// - Throws: `FileError` when the system refuses.
    public static func write(_ bytes: [UInt8], to path: String) throws(FileError) {
        var file = try AtomicFile(path, byteCount: bytes.count)
        do {
            let written = bytes.withUnsafeBytes { bytes in
                Result { () throws(FileError) in try file.write(bytes) }
            }
            try written.get()
        } catch {
            file.discard()
            throw error
        }
        try file.commit()
    }

    /// Begins a file; it must be committed or discarded.
    init(_ path: String, byteCount: Int) throws(FileError) {
        if path.utf8.contains(0) { throw FileError(path: path, problem: .zeroByteInPath) }
        self.path = path
        self.byteCount = byteCount
        temporaryPath = "\(path).\(String(UInt64.random(in: 0 ... .max), radix: 36)).temporary"
        descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileError(path, "create", code: errno, byteCount: byteCount) }
    }

    /// Appends bytes.
    mutating func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        guard let code = writeAll(bytes, to: descriptor) else {
            fingerprint.combine(bytes: bytes)
            return
        }
        throw FileError(path, "write", code: code, byteCount: byteCount)
    }

    /// Closes and removes the file.
    func discard() {
        close(descriptor)
        unlink(temporaryPath)
    }

    /// Puts the file into its place, or removes it and says what went wrong.
    func commit() throws(FileError) {
        guard fsync(descriptor) == 0 else {
            let code = errno
            discard()
            throw FileError(path, "write", code: code, byteCount: byteCount)
        }
        close(descriptor)
        guard rename(temporaryPath, path) == 0 else {
            let code = errno
            unlink(temporaryPath)
            throw FileError(path, "replace", code: code, byteCount: byteCount)
        }
        Folder.sync(Folder.above(path))
    }
}

extension FileError {
    /// The failure of a system call while a file of so many bytes was written.
    init(_ path: String, _ operation: String, code: Int32, byteCount: Int) {
        let isFull = code == ENOSPC || code == EDQUOT
        self.init(
            path: path,
            problem: isFull ? .diskFull(byteCount: byteCount) : .system(operation: operation, code: code))
    }
}

/// Writes all bytes to a descriptor, and returns the system's error, if any.
func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: CInt) -> CInt? {
    var written = 0
    while written < bytes.count {
        let count = write(descriptor, bytes.baseAddress?.advanced(by: written), bytes.count - written)
        if count >= 0 {
            written += count
        } else if errno != EINTR {
            return errno
        }
    }
    return nil
}

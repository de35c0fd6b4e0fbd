#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The bytes of one file, mapped read-only into memory or read into it.
///
/// The bytes stay where they are for as long as the object lives. A mapped file that another process
/// truncates afterwards ends this process with SIGBUS; use ``init(reading:)`` where that may happen.
public final class MappedFile: Sendable {
    /// The path as it was given, or what the bytes were called.
    public let path: String

    // Safe: the memory is written only before `init` returns, and freed only in `deinit`.
    /// All bytes of the file; valid for as long as this object is alive.
    ///
    /// Swift may release an object right after its last use: keep it in a property, or use
    /// ``withUnsafeBytes(_:)``.
    public nonisolated(unsafe) let unsafeBytes: UnsafeRawBufferPointer

    private let isMapped: Bool

    /// The number of bytes.
    public var count: Int { unsafeBytes.count }

    /// Maps a regular file read-only into memory.
    ///
    /// - Throws: `FileError` when the path names no regular file, or the system refuses.
    public init(path: String) throws(FileError) {
        let (descriptor, count) = try openRegularFile(path)
        defer { close(descriptor) }
        self.path = path
        guard count > 0 else {
            // The system refuses to map nothing.
            unsafeBytes = UnsafeRawBufferPointer(start: nil, count: 0)
            isMapped = false
            return
        }
        guard let address = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED
        else {
            throw FileError(path: path, problem: .system(operation: "map", code: errno))
        }
        unsafeBytes = UnsafeRawBufferPointer(start: address, count: count)
        isMapped = true
    }

    /// Reads a regular file into memory, so that later changes to the file do no harm.
    ///
    /// - Throws: `FileError` when the path names no regular file, the system refuses, or the file shrinks
    ///   while it is read.
    public init(reading path: String) throws(FileError) {
        let (descriptor, count) = try openRegularFile(path)
        defer { close(descriptor) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        var filled = 0
        var problem: FileError.Problem?
        while filled < count, problem == nil {
            let readCount = read(descriptor, buffer.baseAddress?.advanced(by: filled), count - filled)
            if readCount > 0 {
                filled += readCount
            } else if readCount == 0 {
                problem = .shrank(expected: count, found: filled)
            } else if errno != EINTR {
                problem = .system(operation: "read", code: errno)
            }
        }
        if let problem {
            buffer.deallocate()
            throw FileError(path: path, problem: problem)
        }
        self.path = path
        unsafeBytes = UnsafeRawBufferPointer(buffer)
        isMapped = false
    }

    /// Wraps bytes that are in memory already, under a name for messages.
    public init(bytes: [UInt8], path: String = "bytes in memory") {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 64)
        buffer.copyBytes(from: bytes)
        self.path = path
        unsafeBytes = UnsafeRawBufferPointer(buffer)
        isMapped = false
    }

    deinit {
        if isMapped {
            munmap(UnsafeMutableRawPointer(mutating: unsafeBytes.baseAddress), unsafeBytes.count)
        } else {
            unsafeBytes.deallocate()
        }
    }

    /// Calls `body` with all bytes, and keeps them in place until it returns.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(self) {} }
        return try body(unsafeBytes)
    }

    /// Returns the bytes of `range`, which keep the file alive.
    ///
    /// - Precondition: `range` lies within the file.
    public func slice(_ range: Range<Int>) -> Slice {
        Slice(file: self, range: range)
    }
}

extension MappedFile {
    /// A range of a file's bytes, together with the file that owns them.
    public struct Slice: Sendable {
        /// The file that the bytes belong to.
        public let file: MappedFile
        /// Where in the file the bytes are.
        public let range: Range<Int>

        fileprivate init(file: MappedFile, range: Range<Int>) {
            precondition(
                range.lowerBound >= 0 && range.upperBound <= file.count,
                "Bytes \(range) do not lie within the \(file.count) bytes of \(file.path).")
            self.file = file
            self.range = range
        }

        /// The number of bytes.
        public var count: Int { range.count }

        /// The bytes, at any alignment; valid for as long as ``file`` is alive.
        ///
        /// Swift may release an object right after its last use: keep ``file`` in a property, or use
        /// ``withUnsafeBytes(_:)``.
        public var unsafeBytes: UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: file.unsafeBytes[range])
        }

        /// Calls `body` with the bytes, and keeps them in place until it returns.
        public func withUnsafeBytes<Result, Failure: Error>(
            _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
        ) throws(Failure) -> Result {
            defer { withExtendedLifetime(file) {} }
            return try body(unsafeBytes)
        }
    }
}

/// A file that could not be opened, mapped, read or written.
public struct FileError: Error, Equatable, CustomStringConvertible {
    /// What went wrong.
    public enum Problem: Equatable, Sendable {
        /// The system refused an operation, with `errno`'s value.
        case system(operation: String, code: Int32)
        /// The path names a folder, a pipe, a device or a socket.
        case notRegularFile(kind: String)
        /// The path holds a zero byte, which no file system allows.
        case zeroByteInPath
        /// The file has become shorter while it was read.
        case shrank(expected: Int, found: Int)
        /// The file has more bytes than this machine can address.
        case tooLarge(byteCount: Int64)
        /// The disk, or the share of it that the user may have, has no room for a file of so many bytes.
        case diskFull(byteCount: Int)
    }

    /// The path as it was given.
    public let path: String
    /// What went wrong.
    public let problem: Problem

    /// What went wrong, where, and what to try.
    public var description: String {
        switch problem {
        case .system(let operation, let code):
            let advice =
                switch code {
                case ENOENT: " Check the spelling, or fetch the file first."
                case EACCES, EPERM: " Check the permissions of the file and of the folders above it."
                case ENOSPC: " Free some space on the disk."
                default: ""
                }
            return "Cannot \(operation) '\(path)': \(String(cString: strerror(code))).\(advice)"
        case .notRegularFile(let kind):
            return "'\(path)' is \(kind), not a regular file. Name the file itself."
        case .zeroByteInPath:
            return "The path '\(path)' contains a zero byte. Remove it."
        case .shrank(let expected, let found):
            return "'\(path)' shrank from \(expected) to \(found) bytes while it was read. "
                + "Wait until nothing writes to it, then try again."
        case .tooLarge(let byteCount):
            return "'\(path)' has \(byteCount) bytes, more than this machine can address."
        case .diskFull(let byteCount):
            return "Cannot write '\(path)': the disk has no room for its \(byteCount) bytes. Free some space, or write "
                + "to another disk."
        }
    }
}

/// Opens a regular file for reading and returns its descriptor, which the caller closes, and its size.
private func openRegularFile(_ path: String) throws(FileError) -> (descriptor: CInt, count: Int) {
    if path.utf8.contains(0) {
        throw FileError(path: path, problem: .zeroByteInPath)
    }
    // Without O_NONBLOCK, opening a pipe waits for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
        throw FileError(path: path, problem: .system(operation: "open", code: errno))
    }
    var status = stat()
    var problem: FileError.Problem?
    if fstat(descriptor, &status) != 0 {
        problem = .system(operation: "examine", code: errno)
    } else {
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: problem = .notRegularFile(kind: "a folder")
        case S_IFIFO: problem = .notRegularFile(kind: "a pipe")
        case S_IFSOCK: problem = .notRegularFile(kind: "a socket")
        default: problem = .notRegularFile(kind: "a device")
        }
    }
    let count = Int(exactly: status.st_size)
    if problem == nil, count == nil {
        problem = .tooLarge(byteCount: Int64(status.st_size))
    }
    guard problem == nil, let count else {
        close(descriptor)
        throw FileError(path: path, problem: problem ?? .tooLarge(byteCount: Int64(status.st_size)))
    }
    return (descriptor, count)
}

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

extension SafetensorsFile {
    /// A tensor to write, which lends its bytes when asked, so that none need be copied.
    public struct TensorToWrite {
        /// The tensor's name.
        public let name: String
        /// The type of its elements.
        public let elementType: ElementType
        /// Its shape, the slowest-varying dimension first; empty for a scalar.
        public let shape: [Int]
        fileprivate let lendBytes: ((UnsafeRawBufferPointer) -> Void) -> Void

        /// Describes a tensor whose little-endian elements `lendBytes` passes on, once, when it is called.
        public init(
            name: String, elementType: ElementType, shape: [Int],
            lendBytes: @escaping ((UnsafeRawBufferPointer) -> Void) -> Void
        ) {
            self.name = name
            self.elementType = elementType
            self.shape = shape
            self.lendBytes = lendBytes
        }

        /// Describes a tensor of the given little-endian elements.
        public init(name: String, elementType: ElementType, shape: [Int], bytes: [UInt8]) {
            self.init(name: name, elementType: elementType, shape: shape) { body in
                bytes.withUnsafeBytes(body)
            }
        }
    }

    /// Writes tensors to a file, which appears whole or not at all.
    ///
    /// Writes a temporary file beside `path`, waits until the disk has it, and renames it: readers that have
    /// mapped an older file keep it. Tensors of larger elements come first, so that each is aligned.
    ///
    /// - Parameters:
    ///   - tensors: The tensors, each of its own name.
    ///   - metadata: The pairs of `__metadata__`, left out when empty.
    ///   - path: Where to write.
    /// - Throws: `SafetensorsError` when a name occurs twice, a tensor's shape disagrees with its bytes, or the
    ///   system refuses; the file at `path`, if any, is unchanged then.
    public static func write(
        tensors: [TensorToWrite], metadata: [(key: String, value: String)] = [], to path: String
    ) throws(SafetensorsError) {
        // Stable: tensors of one type keep the caller's order.
        let ordered = tensors.enumerated().sorted {
            ($1.element.elementType.byteCount, $0.offset) < ($0.element.elementType.byteCount, $1.offset)
        }.map(\.element)
        let header = try header(ordered, metadata, path)
        let output = try TemporaryFile(beside: path)
        var failure = header.withUnsafeBytes(output.write)
        for tensor in ordered where failure == nil {
            // What holds if the closure lends nothing at all.
            failure = tensor.problem(UnsafeRawBufferPointer(start: nil, count: 0))
            tensor.lendBytes { bytes in
                failure = tensor.problem(bytes) ?? output.write(bytes)
            }
        }
        if failure == nil {
            failure = output.commit()
        } else {
            output.discard()
        }
        if let failure {
            throw SafetensorsError(path: path, problem: failure)
        }
    }

    /// Returns the header with its length, padded with spaces to a multiple of 8 bytes.
    private static func header(
        _ tensors: [TensorToWrite], _ metadata: [(key: String, value: String)], _ path: String
    ) throws(SafetensorsError) -> [UInt8] {
        var header = JSONObject()
        if !metadata.isEmpty {
            var pairs = JSONObject()
            for (key, value) in metadata {
                guard pairs.append(key, .string(value)) else {
                    throw SafetensorsError(path: path, problem: .duplicateName(key))
                }
            }
            header.append("__metadata__", .object(pairs))
        }
        var end = 0
        for tensor in tensors {
            guard ExactString(tensor.name) != ExactString("__metadata__") else {
                throw SafetensorsError(path: path, problem: .reservedName(tensor.name))
            }
            let begin = end
            guard let byteCount = tensor.byteCount else {
                throw SafetensorsError(path: path, problem: .sizeOverflow(tensor: tensor.name))
            }
            let (sum, overflow) = end.addingReportingOverflow(byteCount)
            guard !overflow else {
                throw SafetensorsError(path: path, problem: .sizeOverflow(tensor: tensor.name))
            }
            end = sum
            var entry = JSONObject()
            entry.append("dtype", .string(tensor.elementType.rawValue))
            entry.append("shape", .array(tensor.shape.map { .integer(Int64($0)) }))
            entry.append("data_offsets", .array([.integer(Int64(begin)), .integer(Int64(end))]))
            guard header.append(tensor.name, .object(entry)) else {
                throw SafetensorsError(path: path, problem: .duplicateName(tensor.name))
            }
        }
        var text: [UInt8]
        do {
            text = try JSONValue.object(header).serialized()
        } catch {
            throw SafetensorsError(path: path, problem: .headerNotJSON(error))
        }
        text += [UInt8](repeating: UInt8(ascii: " "), count: (8 - text.count % 8) % 8)
        guard text.count <= maximumHeaderByteCount else {
            throw SafetensorsError(path: path, problem: .headerTooLong(byteCount: UInt64(text.count)))
        }
        return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
    }
}

extension SafetensorsFile.TensorToWrite {
    /// The bytes that the shape asks for, or `nil` when their number overflows or a size is negative.
    fileprivate var byteCount: Int? {
        var count = elementType.byteCount
        for size in shape where size != 0 {
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            if overflow || size < 0 { return nil }
            count = product
        }
        return shape.contains(0) ? 0 : count
    }

    fileprivate func problem(_ bytes: UnsafeRawBufferPointer) -> SafetensorsError.Problem? {
        guard let byteCount else { return .sizeOverflow(tensor: name) }
        return bytes.count == byteCount
            ? nil : .wrongByteCount(tensor: name, expected: byteCount, found: bytes.count)
    }
}

/// A file that takes its place only once it is whole and on the disk.
private struct TemporaryFile {
    let path: String
    let temporaryPath: String
    let descriptor: CInt

    init(beside path: String) throws(SafetensorsError) {
        func failure(_ problem: FileError.Problem) -> SafetensorsError {
            SafetensorsError(path: path, problem: .fileFailed(FileError(path: path, problem: problem)))
        }
        if path.utf8.contains(0) { throw failure(.zeroByteInPath) }
        self.path = path
        temporaryPath = "\(path).\(String(UInt64.random(in: 0 ... .max), radix: 36)).temporary"
        descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw failure(.system(operation: "create", code: errno)) }
    }

    /// Appends bytes, and returns what went wrong, if anything.
    func write(_ bytes: UnsafeRawBufferPointer) -> SafetensorsError.Problem? {
        var written = 0
        while written < bytes.count {
            let count = systemWrite(
                descriptor, bytes.baseAddress?.advanced(by: written), bytes.count - written)
            if count >= 0 {
                written += count
            } else if errno != EINTR {
                return problem("write", code: errno)
            }
        }
        return nil
    }

    /// Closes and removes the file.
    func discard() {
        close(descriptor)
        unlink(temporaryPath)
    }

    /// Puts the file into its place, or removes it and returns what went wrong.
    func commit() -> SafetensorsError.Problem? {
        guard fsync(descriptor) == 0 else {
            let code = errno
            discard()
            return problem("write", code: code)
        }
        close(descriptor)
        guard rename(temporaryPath, path) == 0 else {
            let code = errno
            unlink(temporaryPath)
            return problem("replace", code: code)
        }
        // The new name is in the folder, which the disk must have too; where a folder cannot be synced, the
        // rename has still happened, and there is nothing to undo.
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let folderDescriptor = open(folder, O_RDONLY | O_CLOEXEC)
        if folderDescriptor >= 0 {
            fsync(folderDescriptor)
            close(folderDescriptor)
        }
        return nil
    }

    private func problem(_ operation: String, code: Int32) -> SafetensorsError.Problem {
        .fileFailed(FileError(path: path, problem: .system(operation: operation, code: code)))
    }
}

// `TemporaryFile.write` hides the system's function of the same name.
private func systemWrite(_ descriptor: CInt, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}

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
        _ = try writeFingerprinted(tensors: tensors, metadata: metadata, to: path)
    }

    /// Writes tensors to a file, and returns the number of its bytes and their fingerprint.
    static func writeFingerprinted(
        tensors: [TensorToWrite], metadata: [(key: String, value: String)], to path: String
    ) throws(SafetensorsError) -> (byteCount: Int, fingerprint: Fingerprint) {
        // Stable: tensors of one type keep the caller's order.
        let ordered = tensors.enumerated().sorted {
            ($1.element.elementType.byteCount, $0.offset) < ($0.element.elementType.byteCount, $1.offset)
        }.map(\.element)
        let (header, dataByteCount) = try header(ordered, metadata, path)
        let byteCount = header.count + min(dataByteCount, Int.max - header.count)
        func writing<Value>(_ body: () throws(FileError) -> Value) throws(SafetensorsError) -> Value {
            do {
                return try body()
            } catch {
                throw SafetensorsError(path: path, problem: .fileFailed(error))
            }
        }
        var output = try writing { () throws(FileError) in try AtomicFile(path, byteCount: byteCount) }
        func write(_ bytes: UnsafeRawBufferPointer) -> SafetensorsError.Problem? {
            do {
                try output.write(bytes)
                return nil
            } catch {
                return .fileFailed(error)
            }
        }
        var failure = header.withUnsafeBytes(write)
        for tensor in ordered where failure == nil {
            // What holds if the closure lends nothing at all.
            failure = tensor.problem(UnsafeRawBufferPointer(start: nil, count: 0))
            tensor.lendBytes { bytes in
                failure = tensor.problem(bytes) ?? write(bytes)
            }
        }
        if let failure {
            output.discard()
            throw SafetensorsError(path: path, problem: failure)
        }
        try writing { () throws(FileError) in try output.commit() }
        return (byteCount, output.fingerprint)
    }

    /// Returns the header with its length, padded with spaces to a multiple of 8 bytes, and the bytes of data after it.
    private static func header(
        _ tensors: [TensorToWrite], _ metadata: [(key: String, value: String)], _ path: String
    ) throws(SafetensorsError) -> (header: [UInt8], dataByteCount: Int) {
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
        return (withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text, end)
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

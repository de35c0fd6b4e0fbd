/// A file of named tensors in the safetensors format.
///
/// The file is, in this order:
///
/// 1. a `UInt64`, little-endian: the number of bytes in the header;
/// 2. the header, a JSON object: for each tensor its `dtype`, `shape` and `data_offsets`, the latter from the
///    beginning of the data; optionally `__metadata__`, an object of strings; optionally spaces at the end;
/// 3. the tensors' data, without holes or overlaps, up to the end of the file.
///
/// Nothing in a file is trusted, as in ``GGUFFile``. Tensors need not be aligned.
///
/// Specification: github.com/huggingface/safetensors.
public struct SafetensorsFile: Sendable {
    /// An element type; the raw value is its name in files.
    public enum ElementType: String, CaseIterable, Sendable {
        /// IEEE 754 binary64.
        case float64 = "F64"
        /// IEEE 754 binary32.
        case float32 = "F32"
        /// IEEE 754 binary16.
        case float16 = "F16"
        /// The upper half of a binary32.
        case bfloat16 = "BF16"
        /// A signed integer of 64 bits.
        case int64 = "I64"
        /// A signed integer of 32 bits.
        case int32 = "I32"
        /// A signed integer of 16 bits.
        case int16 = "I16"
        /// A signed integer of 8 bits.
        case int8 = "I8"
        /// An unsigned integer of 8 bits.
        case uint8 = "U8"
        /// One byte, 0 or 1; files may hold others, which readers must not take for a `Bool`.
        case boolean = "BOOL"

        /// The number of bytes that an element takes.
        public var byteCount: Int {
            switch self {
            case .float64, .int64: 8
            case .float32, .int32: 4
            case .float16, .bfloat16, .int16: 2
            case .int8, .uint8, .boolean: 1
            }
        }
    }

    /// A named tensor; its elements stay in the file.
    public struct Tensor: Sendable {
        /// The tensor's name.
        public let name: String
        /// The type of its elements.
        public let elementType: ElementType
        /// Its shape, the slowest-varying dimension first; empty for a scalar.
        public let shape: [Int]
        /// Its elements, little-endian, at any alignment.
        public let data: MappedFile.Slice

        /// The number of elements, the product of ``shape``.
        public var elementCount: Int { shape.reduce(1, *) }
    }

    /// The longest header that is read, as in the reference implementation.
    public static let maximumHeaderByteCount = 100_000_000

    /// The file's bytes.
    public let file: MappedFile
    /// The tensors, in the order of their data.
    public let tensors: [Tensor]
    /// The pairs of `__metadata__`, in the file's order.
    public let metadata: [(key: String, value: String)]

    private let tensorIndices: [ExactString: Int]

    /// Opens and checks a file.
    ///
    /// - Parameters:
    ///   - path: The file's path.
    ///   - mapped: Whether to map the file into memory, which takes no time, or to read it whole.
    /// - Throws: `SafetensorsError` when the file cannot be opened or breaks the format.
    public init(path: String, mapped: Bool = true) throws(SafetensorsError) {
        let file: MappedFile
        do {
            file = mapped ? try MappedFile(path: path) : try MappedFile(reading: path)
        } catch {
            throw SafetensorsError(path: path, problem: .fileFailed(error))
        }
        try self.init(file)
    }

    /// Checks a file's whole header.
    ///
    /// - Throws: `SafetensorsError` when the file breaks the format.
    /// - Complexity: O(*n* log *n*) in the number of tensors; tensor data is not touched.
    public init(_ file: MappedFile) throws(SafetensorsError) {
        self.file = file
        let (header, dataStart) = try Self.readHeader(file)
        var entries: [Entry] = []
        var metadata: [(key: String, value: String)] = []
        for (name, value) in header.members {
            if ExactString(name) == ExactString("__metadata__") {
                metadata = try Self.readMetadata(value, path: file.path)
            } else {
                entries.append(try Entry(name: name, value, path: file.path))
            }
        }
        self.metadata = metadata
        // By the end as well, so that an empty tensor comes before the one that begins where it does.
        entries.sort { ($0.begin, $0.end) < ($1.begin, $1.end) }

        var end = 0
        let available = file.count - dataStart
        var tensors: [Tensor] = []
        var indices: [ExactString: Int] = [:]
        for entry in entries {
            guard entry.begin == end else {
                throw SafetensorsError(
                    path: file.path,
                    problem: .notContiguous(tensor: entry.name, begin: entry.begin, expected: end))
            }
            end = entry.end
            guard end <= available else { break }
            indices[ExactString(entry.name)] = tensors.count
            tensors.append(
                Tensor(
                    name: entry.name, elementType: entry.elementType, shape: entry.shape,
                    data: file.slice(dataStart + entry.begin..<dataStart + end)))
        }
        guard end == available else {
            throw SafetensorsError(
                path: file.path, problem: .wrongDataLength(expected: end, found: available))
        }
        self.tensors = tensors
        tensorIndices = indices
    }

    /// Returns the tensor of the given name, or `nil`.
    public func tensor(named name: String) -> Tensor? {
        tensorIndices[ExactString(name)].map { tensors[$0] }
    }

    /// Returns the tensor of the given name.
    ///
    /// - Throws: `SafetensorsError` when there is none.
    public func requireTensor(named name: String) throws(SafetensorsError) -> Tensor {
        guard let tensor = tensor(named: name) else {
            throw SafetensorsError(path: file.path, problem: .missingTensor(name))
        }
        return tensor
    }

    /// Returns the value of the given key in `__metadata__`, or `nil`.
    public func metadataValue(_ key: String) -> String? {
        metadata.first { ExactString($0.key) == ExactString(key) }?.value
    }

    // MARK: - The header

    private static func readHeader(
        _ file: MappedFile
    ) throws(SafetensorsError) -> (header: JSONObject, dataStart: Int) {
        func error(_ problem: SafetensorsError.Problem) -> SafetensorsError {
            SafetensorsError(path: file.path, problem: problem)
        }
        let bytes = file.unsafeBytes
        guard bytes.count >= 8 else { throw error(.tooShort(byteCount: bytes.count)) }
        let claimed = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard claimed <= UInt64(maximumHeaderByteCount) else {
            throw error(.headerTooLong(byteCount: claimed))
        }
        guard claimed <= UInt64(bytes.count - 8) else {
            throw error(.headerOutOfBounds(byteCount: claimed, remaining: bytes.count - 8))
        }
        let dataStart = 8 + Int(claimed)
        let headerBytes = UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart])
        guard headerBytes.first == UInt8(ascii: "{") else { throw error(.headerNotObject) }
        let header: JSONValue
        do {
            header = try JSONValue(parsing: headerBytes, maximumDepth: 8)
        } catch {
            throw SafetensorsError(path: file.path, problem: .headerNotJSON(error))
        }
        guard case .object(let object) = header else { throw error(.headerNotObject) }
        return (object, dataStart)
    }

    private static func readMetadata(
        _ value: JSONValue, path: String
    ) throws(SafetensorsError) -> [(key: String, value: String)] {
        guard let object = value.objectValue else {
            throw SafetensorsError(path: path, problem: .metadataNotStrings(key: nil))
        }
        var pairs: [(key: String, value: String)] = []
        for (key, value) in object.members {
            guard let string = value.stringValue else {
                throw SafetensorsError(path: path, problem: .metadataNotStrings(key: key))
            }
            pairs.append((key, string))
        }
        return pairs
    }

    /// What the header says of one tensor.
    private struct Entry {
        let name: String
        let elementType: ElementType
        let shape: [Int]
        let begin: Int
        let end: Int

        init(name: String, _ value: JSONValue, path: String) throws(SafetensorsError) {
            func error(_ problem: SafetensorsError.Problem) -> SafetensorsError {
                SafetensorsError(path: path, problem: problem)
            }
            func malformed(_ field: String, _ wanted: String) -> SafetensorsError {
                error(.malformedField(tensor: name, field: field, wanted: wanted))
            }
            guard let typeName = value["dtype"]?.stringValue else { throw malformed("dtype", "a string") }
            guard let elementType = ElementType(rawValue: typeName) else {
                throw error(.unsupportedElementType(tensor: name, type: typeName))
            }
            guard let shape = Self.sizes(value["shape"]) else {
                throw malformed("shape", "an array of integers that are not negative")
            }
            guard let offsets = Self.sizes(value["data_offsets"]), offsets.count == 2 else {
                throw malformed("data_offsets", "an array of two integers that are not negative")
            }
            guard offsets[0] <= offsets[1] else {
                throw error(.offsetsReversed(tensor: name, begin: offsets[0], end: offsets[1]))
            }
            guard let byteCount = Self.byteCount(shape, elementType) else {
                throw error(.sizeOverflow(tensor: name))
            }
            guard byteCount == offsets[1] - offsets[0] else {
                throw error(
                    .wrongByteCount(tensor: name, expected: byteCount, found: offsets[1] - offsets[0]))
            }
            self.name = name
            self.elementType = elementType
            self.shape = shape
            begin = offsets[0]
            end = offsets[1]
        }

        private static func sizes(_ value: JSONValue?) -> [Int]? {
            guard let elements = value?.arrayValue else { return nil }
            var sizes: [Int] = []
            for element in elements {
                guard let size = element.integerValue.flatMap({ Int(exactly: $0) }), size >= 0 else {
                    return nil
                }
                sizes.append(size)
            }
            return sizes
        }

        /// The product of the shape and the element's size, or `nil` when it overflows.
        ///
        /// Zeros are left out until the end, so that the product of any part of the shape fits as well.
        private static func byteCount(_ shape: [Int], _ elementType: ElementType) -> Int? {
            var byteCount = elementType.byteCount
            for size in shape where size != 0 {
                let (product, overflow) = byteCount.multipliedReportingOverflow(by: size)
                if overflow { return nil }
                byteCount = product
            }
            return shape.contains(0) ? 0 : byteCount
        }
    }
}

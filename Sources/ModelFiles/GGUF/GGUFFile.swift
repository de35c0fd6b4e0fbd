/// A model file in the GGUF format, versions 2 and 3, little-endian.
///
/// The file is, in this order:
///
/// 1. the bytes `GGUF`, a `UInt32` version, a `UInt64` number of tensors, a `UInt64` number of metadata pairs;
/// 2. the metadata pairs: a key (a `UInt64` length, then ASCII), a `UInt32` value type, the value; an array is
///    a `UInt32` element type, a `UInt64` count, then the elements;
/// 3. the tensors' descriptions: a name (a `UInt64` length, then UTF-8), a `UInt32` number of dimensions, so
///    many `UInt64` dimensions with the fastest first, a `UInt32` element type, a `UInt64` offset from the
///    beginning of the data;
/// 4. padding up to a multiple of the alignment (`general.alignment`, 32 when absent);
/// 5. the tensors' data, one after another, each padded to the alignment.
///
/// Nothing in a file is trusted: every length is compared with what remains, every product and sum is checked,
/// and memory stays in proportion to the file.
///
/// Specification: github.com/ggml-org/ggml, docs/gguf.md. Unlike llama.cpp, arrays within arrays are read, and
/// a tensor of a type outside ``TensorType`` refuses the whole file.
public struct GGUFFile: Sendable {
    /// The file's bytes.
    public let file: MappedFile
    /// The format's version, 2 or 3.
    public let version: UInt32
    /// What the file says about the model.
    public let metadata: Metadata
    /// The alignment of tensor data in bytes.
    public let alignment: Int
    /// The tensors, in the file's order.
    public let tensors: [Tensor]

    private let tensorIndices: [ExactString: Int]

    /// A named tensor; its elements stay in the file.
    public struct Tensor: Sendable {
        /// The tensor's name, such as `blk.0.attn_q.weight`.
        public let name: String
        /// The type of its elements.
        public let type: TensorType
        /// Its dimensions, at most 4, the fastest-varying first: the reverse of a shape elsewhere.
        public let dimensions: [Int]
        /// Its elements as the file has them, aligned to ``GGUFFile/alignment`` within the file.
        public let data: MappedFile.Slice

        /// The number of elements, the product of ``dimensions``.
        public var elementCount: Int { dimensions.reduce(1, *) }
    }

    /// Opens and checks a file.
    ///
    /// - Parameters:
    ///   - path: The file's path.
    ///   - mapped: Whether to map the file into memory, which takes no time, or to read it whole.
    /// - Throws: `GGUFError` when the file cannot be opened or breaks the format.
    public init(path: String, mapped: Bool = true) throws(GGUFError) {
        let file: MappedFile
        do {
            file = mapped ? try MappedFile(path: path) : try MappedFile(reading: path)
        } catch {
            throw GGUFError(path: path, problem: .unreadable(error))
        }
        try self.init(file)
    }

    /// Checks a file's whole header.
    ///
    /// - Throws: `GGUFError` when the file breaks the format.
    /// - Complexity: O(*n*) in the header's bytes; tensor data is not touched.
    public init(_ file: MappedFile) throws(GGUFError) {
        var reader = GGUFReader(file: file)
        let magic = Array(file.unsafeBytes.prefix(4))
        guard magic == Array("GGUF".utf8) else {
            throw reader.error(.wrongMagic(found: magic))
        }
        try reader.skip(4, "the magic number")
        version = try reader.read(UInt32.self, "the version")
        // A small version with its bytes swapped has nothing in its lower half.
        if version != 0, version & 0xFFFF == 0 {
            throw reader.error(.bigEndian, at: 4)
        }
        guard version == 2 || version == 3 else {
            throw reader.error(.unsupportedVersion(version), at: 4)
        }
        let tensorCount = try reader.read(UInt64.self, "the number of tensors")
        let pairCount = try reader.read(UInt64.self, "the number of metadata pairs")
        // Dividing what remains, rather than multiplying what is claimed, cannot overflow.
        guard pairCount <= UInt64(reader.remaining / Self.minimumPairByteCount) else {
            throw reader.error(
                .tooMany(what: "metadata pairs", count: pairCount, remaining: reader.remaining), at: 16)
        }
        guard tensorCount <= UInt64(reader.remaining / Self.minimumDescriptionByteCount) else {
            throw reader.error(
                .tooMany(what: "tensors", count: tensorCount, remaining: reader.remaining), at: 8)
        }

        metadata = try Self.readMetadata(&reader, count: pairCount)
        alignment = try Self.alignment(metadata)
        let descriptions = try Self.readDescriptions(&reader, count: tensorCount)
        tensorIndices = descriptions.indices
        tensors = try Self.placeTensors(descriptions.list, headerEnd: reader.offset, alignment, file)
        self.file = file
    }

    /// Returns the tensor of the given name, or `nil`.
    public func tensor(named name: String) -> Tensor? {
        tensorIndices[ExactString(name)].map { tensors[$0] }
    }

    /// Returns the tensor of the given name.
    ///
    /// - Throws: `GGUFError` when there is none.
    public func requireTensor(named name: String) throws(GGUFError) -> Tensor {
        guard let tensor = tensor(named: name) else {
            throw GGUFError(path: file.path, problem: .missingTensor(name))
        }
        return tensor
    }

    // MARK: - Metadata

    /// A key's length, one character, a type, one byte.
    private static let minimumPairByteCount = 14
    /// A name's length, a number of dimensions, a type, an offset.
    private static let minimumDescriptionByteCount = 24

    private static func readMetadata(
        _ reader: inout GGUFReader, count: UInt64
    ) throws(GGUFError) -> Metadata {
        var entries: [Metadata.Entry] = []
        var indices: [ExactString: Int] = [:]
        for _ in 0..<count {
            let keyOffset = reader.offset
            let key = try readKey(&reader)
            guard indices.updateValue(entries.count, forKey: ExactString(key)) == nil else {
                throw reader.error(.duplicateKey(key), at: keyOffset)
            }
            let typeOffset = reader.offset
            let rawType = try reader.read(UInt32.self, "the type of '\(key)'")
            guard let type = ValueType(rawValue: rawType) else {
                throw reader.error(.unknownValueType(key: key, type: rawType), at: typeOffset)
            }
            entries.append(Metadata.Entry(key: key, type: type, offset: reader.offset))
            try reader.skipValue(of: type, key: key)
        }
        return Metadata(file: reader.file, entries: entries, indices: indices)
    }

    private static func readKey(_ reader: inout GGUFReader) throws(GGUFError) -> String {
        let range = try reader.readString("a metadata key", limit: 65_535)
        let bytes = UnsafeRawBufferPointer(rebasing: reader.file.unsafeBytes[range])
        if bytes.isEmpty { throw reader.error(.emptyKey) }
        if let index = bytes.firstIndex(where: { $0 < 0x20 || $0 > 0x7E }) {
            throw reader.error(.keyNotASCII, at: range.lowerBound + index)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func alignment(_ metadata: Metadata) throws(GGUFError) -> Int {
        let key = "general.alignment"
        guard let type = metadata.type(of: key) else { return 32 }
        guard type == .uint32 else {
            throw GGUFError(
                path: metadata.file.path,
                problem: .wrongType(key: key, wanted: ValueType.uint32.name, found: type.name))
        }
        let alignment = try metadata.integer(key)
        guard alignment >= 8, alignment <= 1 << 20, alignment & (alignment - 1) == 0 else {
            throw GGUFError(
                path: metadata.file.path,
                problem: .outOfRange(
                    key: key, value: "\(alignment)", wanted: "a power of two from 8 to 1048576"))
        }
        return alignment
    }

    // MARK: - Tensors

    private struct Description {
        let name: String
        let type: TensorType
        let dimensions: [Int]
        let byteCount: Int
        /// From the beginning of the data, as the file claims.
        let offset: UInt64
        /// Where the description itself stands.
        let place: Int
    }

    private static func readDescriptions(
        _ reader: inout GGUFReader, count: UInt64
    ) throws(GGUFError) -> (list: [Description], indices: [ExactString: Int]) {
        var list: [Description] = []
        var indices: [ExactString: Int] = [:]
        for _ in 0..<count {
            let description = try readDescription(&reader)
            guard indices.updateValue(list.count, forKey: ExactString(description.name)) == nil else {
                throw reader.error(.duplicateTensor(description.name), at: description.place)
            }
            list.append(description)
        }
        return (list, indices)
    }

    private static func readDescription(_ reader: inout GGUFReader) throws(GGUFError) -> Description {
        let place = reader.offset
        let nameRange = try reader.readString("a tensor's name", limit: 64)
        let nameBytes = UnsafeRawBufferPointer(rebasing: reader.file.unsafeBytes[nameRange])
        if nameBytes.isEmpty { throw reader.error(.emptyTensorName, at: place) }
        if let invalid = nameBytes.offsetOfInvalidUTF8 {
            throw reader.error(.notUTF8("a tensor's name"), at: nameRange.lowerBound + invalid)
        }
        let name = String(decoding: nameBytes, as: UTF8.self)

        let dimensionCount = try reader.read(UInt32.self, "the number of dimensions of '\(name)'")
        guard dimensionCount <= 4 else {
            throw reader.error(.tooManyDimensions(tensor: name, count: dimensionCount), at: place)
        }
        var dimensions: [Int] = []
        var elementCount = 1
        for _ in 0..<dimensionCount {
            let claimed = try reader.read(UInt64.self, "the dimensions of '\(name)'")
            guard let dimension = Int(exactly: claimed) else {
                throw reader.error(.sizeOverflow(tensor: name), at: place)
            }
            dimensions.append(dimension)
        }
        // Zeros last: the product of the others must not overflow either, since readers multiply parts.
        for dimension in dimensions where dimension != 0 {
            let (product, overflow) = elementCount.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw reader.error(.sizeOverflow(tensor: name), at: place) }
            elementCount = product
        }
        if dimensions.contains(0) { elementCount = 0 }

        let type = try readTensorType(&reader, tensor: name)
        let rowLength = dimensions.first ?? 1
        guard rowLength % type.blockLength == 0 else {
            throw reader.error(
                .partialBlock(tensor: name, rowLength: rowLength, blockLength: type.blockLength), at: place)
        }
        let (byteCount, overflow) = (elementCount / type.blockLength)
            .multipliedReportingOverflow(by: type.bytesPerBlock)
        guard !overflow else { throw reader.error(.sizeOverflow(tensor: name), at: place) }
        let offset = try reader.read(UInt64.self, "the offset of '\(name)'")
        return Description(
            name: name, type: type, dimensions: dimensions, byteCount: byteCount, offset: offset,
            place: place)
    }

    private static func readTensorType(
        _ reader: inout GGUFReader, tensor: String
    ) throws(GGUFError) -> TensorType {
        let place = reader.offset
        let identifier = try reader.read(UInt32.self, "the type of '\(tensor)'")
        if let type = TensorType(rawValue: identifier) { return type }
        if let name = TensorType.nameOfUnsupported(identifier) {
            throw reader.error(.unsupportedTensorType(tensor: tensor, type: name), at: place)
        }
        throw reader.error(.unknownTensorType(tensor: tensor, identifier: identifier), at: place)
    }

    /// Finds each tensor's bytes, which must follow one another with only padding between them.
    private static func placeTensors(
        _ descriptions: [Description], headerEnd: Int, _ alignment: Int, _ file: MappedFile
    ) throws(GGUFError) -> [Tensor] {
        // The header lies within the file, so this sum is far from overflow.
        let dataStart = (headerEnd + alignment - 1) & ~(alignment - 1)
        let available = max(0, file.count - dataStart)
        var tensors: [Tensor] = []
        var expected = 0
        for description in descriptions {
            let name = description.name
            func error(_ problem: GGUFError.Problem) -> GGUFError {
                GGUFError(path: file.path, offset: description.place, problem: problem)
            }
            guard description.offset == UInt64(expected) else {
                throw error(
                    .wrongTensorOffset(tensor: name, offset: description.offset, expected: expected))
            }
            let (end, endOverflow) = expected.addingReportingOverflow(description.byteCount)
            let (padded, paddingOverflow) = end.addingReportingOverflow(alignment - 1)
            guard !endOverflow, !paddingOverflow else { throw error(.sizeOverflow(tensor: name)) }
            // Without the second condition an empty tensor could lie behind a file that ends before its data.
            guard end <= available, dataStart <= file.count else {
                throw error(.tensorOutOfBounds(tensor: name, needed: end, available: available))
            }
            tensors.append(
                Tensor(
                    name: name, type: description.type, dimensions: description.dimensions,
                    data: file.slice(dataStart + expected..<dataStart + end)))
            expected = padded & ~(alignment - 1)
        }
        return tensors
    }
}

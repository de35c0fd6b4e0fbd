/// Reads a GGUF file's header front to back, and trusts none of it.
///
/// Everything read is compared with what remains before it is used, so `offset` never passes the end.
struct GGUFReader {
    /// The longest string and the longest array that are read, as in llama.cpp.
    static let lengthLimit = 1 << 30
    /// How deep arrays may lie within arrays.
    static let nestingLimit = 16

    let file: MappedFile
    private(set) var offset: Int
    // Safe: whoever reads holds `file`, as a parameter or a property, for as long as it reads.
    private let bytes: UnsafeRawBufferPointer

    init(file: MappedFile, offset: Int = 0) {
        self.file = file
        self.offset = offset
        bytes = file.unsafeBytes
    }

    var remaining: Int { bytes.count - offset }

    func error(_ problem: GGUFError.Problem, at offset: Int? = nil) -> GGUFError {
        GGUFError(path: file.path, offset: offset ?? self.offset, problem: problem)
    }

    mutating func skip(_ count: UInt64, _ what: String) throws(GGUFError) {
        guard count <= UInt64(remaining) else {
            throw error(.truncated(reading: what, needed: count, remaining: remaining))
        }
        offset += Int(count)
    }

    mutating func read<Number: FixedWidthInteger & BitwiseCopyable>(
        _ type: Number.Type, _ what: String
    ) throws(GGUFError) -> Number {
        let start = offset
        try skip(UInt64(MemoryLayout<Number>.size), what)
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: type))
    }

    /// Reads a string's length and steps over its bytes, which it returns the place of.
    mutating func readString(_ what: String, limit: Int = lengthLimit) throws(GGUFError) -> Range<Int> {
        let lengthOffset = offset
        let length = try read(UInt64.self, what)
        guard length <= UInt64(limit) else {
            throw error(.overLimit(what: what, count: length, limit: limit), at: lengthOffset)
        }
        let start = offset
        try skip(length, what)
        return start..<offset
    }

    /// Reads an array's element type and count, having made sure that so many elements can fit.
    mutating func readArrayHeader(
        key: String
    ) throws(GGUFError) -> (elementType: GGUFFile.ValueType, count: Int) {
        let typeOffset = offset
        let rawType = try read(UInt32.self, "an array's element type")
        guard let type = GGUFFile.ValueType(rawValue: rawType) else {
            throw error(.unknownValueType(key: key, type: rawType), at: typeOffset)
        }
        let countOffset = offset
        let count = try read(UInt64.self, "an array's length")
        guard count <= UInt64(Self.lengthLimit) else {
            throw error(
                .overLimit(what: "the array '\(key)'", count: count, limit: Self.lengthLimit),
                at: countOffset)
        }
        // Below 2^30 elements of at most 12 bytes: no overflow.
        guard Int(count) * type.minimumByteCount <= remaining else {
            throw error(
                .tooMany(what: "elements of '\(key)'", count: count, remaining: remaining), at: countOffset)
        }
        return (type, Int(count))
    }

    /// Steps over one value of the given type, checking everything within it.
    mutating func skipValue(
        of type: GGUFFile.ValueType, key: String, depth: Int = 0
    ) throws(GGUFError) {
        switch type {
        case .string:
            _ = try readString("a string")
        case .boolean:
            try skipBooleans(1, key: key)
        case .array:
            guard depth < Self.nestingLimit else {
                throw error(.nestedTooDeeply(key: key, limit: Self.nestingLimit))
            }
            let (elementType, count) = try readArrayHeader(key: key)
            switch elementType {
            case .boolean:
                try skipBooleans(count, key: key)
            case .string, .array:
                // Every turn consumes at least the bytes of a length, so the file's size bounds the loop.
                for _ in 0..<count {
                    try skipValue(of: elementType, key: key, depth: depth + 1)
                }
            default:
                try skip(UInt64(count * elementType.minimumByteCount), "an array")
            }
        default:
            try skip(UInt64(type.minimumByteCount), "a number")
        }
    }

    private mutating func skipBooleans(_ count: Int, key: String) throws(GGUFError) {
        let start = offset
        try skip(UInt64(count), "a Boolean")
        var index = start
        while index < offset {
            if bytes[index] > 1 {
                throw error(.notBoolean(key: key, byte: bytes[index]), at: index)
            }
            index += 1
        }
    }

    /// Reads one value of the given type; an array is left where it is and read when asked for.
    mutating func readValue(
        of type: GGUFFile.ValueType, key: String
    ) throws(GGUFError) -> GGUFFile.Value {
        switch type {
        case .uint8: return .unsigned(UInt64(try read(UInt8.self, "a number")))
        case .uint16: return .unsigned(UInt64(try read(UInt16.self, "a number")))
        case .uint32: return .unsigned(UInt64(try read(UInt32.self, "a number")))
        case .uint64: return .unsigned(try read(UInt64.self, "a number"))
        case .int8: return .signed(Int64(try read(Int8.self, "a number")))
        case .int16: return .signed(Int64(try read(Int16.self, "a number")))
        case .int32: return .signed(Int64(try read(Int32.self, "a number")))
        case .int64: return .signed(try read(Int64.self, "a number"))
        case .float32: return .float32(Float(bitPattern: try read(UInt32.self, "a number")))
        case .float64: return .float64(Double(bitPattern: try read(UInt64.self, "a number")))
        case .boolean:
            let byte = try read(UInt8.self, "a Boolean")
            guard byte <= 1 else { throw error(.notBoolean(key: key, byte: byte), at: offset - 1) }
            return .boolean(byte == 1)
        case .string:
            return .string(file.slice(try readString("a string")))
        case .array:
            let (elementType, count) = try readArrayHeader(key: key)
            let array = GGUFFile.ValueArray(
                key: key, elementType: elementType, count: count, file: file, start: offset)
            for _ in 0..<(elementType.isFixedSize ? 0 : count) {
                try skipValue(of: elementType, key: key)
            }
            if elementType.isFixedSize {
                try skip(UInt64(count * elementType.minimumByteCount), "an array")
            }
            return .array(array)
        }
    }
}

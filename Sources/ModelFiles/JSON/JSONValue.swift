/// A JSON value (RFC 8259).
///
/// Strings and keys are equal only if their bytes are: canonical equivalence plays no part.
public enum JSONValue: Sendable {
    /// `null`.
    case null
    /// `true` or `false`.
    case boolean(Bool)
    /// A number written without fraction and exponent that fits an `Int64`; exact.
    case integer(Int64)
    /// Any other number, as the nearest `Double`.
    case number(Double)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object.
    case object(JSONObject)

    /// How deep values may lie within values unless the caller says otherwise.
    public static let defaultMaximumDepth = 64

    /// Parses one JSON value, which all of `bytes` must make up.
    ///
    /// Strict: UTF-8 only, no duplicate keys, no comments, no trailing commas, no lone surrogates.
    ///
    /// - Throws: `JSONError` with the offset of the fault.
    /// - Complexity: O(*n*) time and memory.
    public init(
        parsing bytes: UnsafeRawBufferPointer, maximumDepth: Int = defaultMaximumDepth
    ) throws(JSONError) {
        self = try JSONParser.parse(bytes, maximumDepth: maximumDepth)
    }

    /// Parses one JSON value, which all of `bytes` must make up.
    ///
    /// - Throws: `JSONError` with the offset of the fault.
    public init(
        parsing bytes: [UInt8], maximumDepth: Int = defaultMaximumDepth
    ) throws(JSONError) {
        let file = MappedFile(bytes: bytes)
        self = try file.withUnsafeBytes { bytes throws(JSONError) in
            try JSONParser.parse(bytes, maximumDepth: maximumDepth)
        }
    }

    /// Returns the value as compact JSON text.
    ///
    /// - Throws: `JSONError` when a number is infinite or NaN.
    public func serialized() throws(JSONError) -> [UInt8] {
        var writer = JSONWriter()
        try writer.write(self)
        return writer.bytes
    }

    /// The member of the given key, if the value is an object that has one.
    public subscript(key: String) -> JSONValue? {
        guard case .object(let object) = self else { return nil }
        return object[key]
    }

    /// The string, if the value is one.
    public var stringValue: String? {
        guard case .string(let string) = self else { return nil }
        return string
    }

    /// The integer, if the value was written as one and fits.
    public var integerValue: Int64? {
        guard case .integer(let integer) = self else { return nil }
        return integer
    }

    /// The number as a `Double`, rounded if need be, if the value is a number.
    public var doubleValue: Double? {
        switch self {
        case .integer(let integer): Double(integer)
        case .number(let number): number
        default: nil
        }
    }

    /// The truth value, if the value is one.
    public var booleanValue: Bool? {
        guard case .boolean(let boolean) = self else { return nil }
        return boolean
    }

    /// The elements, if the value is an array.
    public var arrayValue: [JSONValue]? {
        guard case .array(let array) = self else { return nil }
        return array
    }

    /// The object, if the value is one.
    public var objectValue: JSONObject? {
        guard case .object(let object) = self else { return nil }
        return object
    }
}

/// The members of a JSON object, in their order.
public struct JSONObject: Sendable {
    /// The members, in their order.
    public private(set) var members: [(key: String, value: JSONValue)] = []
    private var indices: [ExactString: Int] = [:]

    /// Creates an object without members.
    public init() {}

    /// The number of members.
    public var count: Int { members.count }

    /// The value of the given key, compared byte by byte.
    public subscript(key: String) -> JSONValue? {
        indices[ExactString(key)].map { members[$0].value }
    }

    /// Appends a member, or changes nothing and returns `false` when there is one of this key already.
    @discardableResult
    public mutating func append(_ key: String, _ value: JSONValue) -> Bool {
        let exactKey = ExactString(key)
        guard indices[exactKey] == nil else { return false }
        indices[exactKey] = members.count
        members.append((key, value))
        return true
    }
}

extension JSONValue: Equatable {
    /// Whether the values are the same, strings byte by byte and the members of objects in any order.
    public static func == (left: Self, right: Self) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.boolean(let left), .boolean(let right)): left == right
        case (.integer(let left), .integer(let right)): left == right
        case (.number(let left), .number(let right)): left == right
        case (.string(let left), .string(let right)): ExactString(left) == ExactString(right)
        case (.array(let left), .array(let right)): left == right
        case (.object(let left), .object(let right)):
            left.count == right.count && left.members.allSatisfy { right[$0.key] == $0.value }
        default: false
        }
    }
}

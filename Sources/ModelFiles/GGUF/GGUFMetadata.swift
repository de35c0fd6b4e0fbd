extension GGUFFile {
    /// A type of metadata values; the raw value is the type's identifier in files.
    public enum ValueType: UInt32, Sendable {
        /// An unsigned integer of 8 bits.
        case uint8 = 0
        /// A signed integer of 8 bits.
        case int8 = 1
        /// An unsigned integer of 16 bits.
        case uint16 = 2
        /// A signed integer of 16 bits.
        case int16 = 3
        /// An unsigned integer of 32 bits.
        case uint32 = 4
        /// A signed integer of 32 bits.
        case int32 = 5
        /// IEEE 754 binary32.
        case float32 = 6
        /// One byte, 0 or 1.
        case boolean = 7
        /// A length, then so many bytes of UTF-8.
        case string = 8
        /// An element type, a count, then so many elements.
        case array = 9
        /// An unsigned integer of 64 bits.
        case uint64 = 10
        /// A signed integer of 64 bits.
        case int64 = 11
        /// IEEE 754 binary64.
        case float64 = 12

        /// The name that the GGUF specification uses, such as `uint32`.
        public var name: String {
            self == .boolean ? "bool" : "\(self)"
        }

        /// The bytes that a value takes at least: all of a number, the header of a string or an array.
        var minimumByteCount: Int {
            switch self {
            case .uint8, .int8, .boolean: 1
            case .uint16, .int16: 2
            case .uint32, .int32, .float32: 4
            case .uint64, .int64, .float64, .string: 8
            case .array: 12
            }
        }

        var isFixedSize: Bool {
            self != .string && self != .array
        }
    }

    /// A metadata value as the file has it.
    public enum Value: Sendable {
        /// An unsigned integer of any width.
        case unsigned(UInt64)
        /// A signed integer of any width.
        case signed(Int64)
        /// A binary32 number; infinities and NaN are legal.
        case float32(Float)
        /// A binary64 number; infinities and NaN are legal.
        case float64(Double)
        /// A truth value.
        case boolean(Bool)
        /// The bytes of a string, which need not be UTF-8.
        case string(MappedFile.Slice)
        /// An array, whose elements are decoded when asked for.
        case array(ValueArray)

        /// Returns the value as an integer of the wanted type, if it is an integer and fits.
        fileprivate func integer<Integer: FixedWidthInteger>(_ type: Integer.Type) -> Integer? {
            switch self {
            case .unsigned(let value): Integer(exactly: value)
            case .signed(let value): Integer(exactly: value)
            default: nil
            }
        }

        fileprivate var typeName: String {
            switch self {
            case .unsigned: "unsigned integer"
            case .signed: "signed integer"
            case .float32: "float32"
            case .float64: "float64"
            case .boolean: "bool"
            case .string: "string"
            case .array(let array): "array of \(array.elementType.name)"
            }
        }

        fileprivate var integerText: String? {
            switch self {
            case .unsigned(let value): "\(value)"
            case .signed(let value): "\(value)"
            default: nil
            }
        }
    }

    /// The elements of a metadata array, decoded one at a time as they are asked for.
    public struct ValueArray: Sequence, Sendable {
        let key: String
        /// The type of every element.
        public let elementType: ValueType
        /// The number of elements.
        public let count: Int
        let file: MappedFile
        let start: Int

        /// Returns an iterator over the elements.
        ///
        /// It ends early only if another process has overwritten a mapped file since it was checked.
        public func makeIterator() -> AnyIterator<Value> {
            var reader = GGUFReader(file: file, offset: start)
            var left = count
            return AnyIterator {
                guard left > 0, let value = try? reader.readValue(of: elementType, key: key) else {
                    return nil
                }
                left -= 1
                return value
            }
        }
    }

    /// The strings of a metadata array, as bytes in the file; any of them is found in constant time.
    public struct StringArray: Sendable {
        private let file: MappedFile
        // String i lies from starts[i] up to the 8 bytes of the next one's length before starts[i + 1].
        private let starts: [Int]

        init(_ array: ValueArray) throws(GGUFError) {
            file = array.file
            var reader = GGUFReader(file: array.file, offset: array.start)
            var starts: [Int] = []
            // In proportion to the file: `readArrayHeader` has seen that 8 bytes per element remain.
            starts.reserveCapacity(array.count + 1)
            for _ in 0..<array.count {
                starts.append(try reader.readString("a string").lowerBound)
            }
            starts.append(reader.offset + 8)
            self.starts = starts
        }

        /// The number of strings.
        public var count: Int { starts.count - 1 }

        /// The bytes of a string, which need not be UTF-8; valid for as long as the file is alive, so keep the
        /// ``GGUFFile`` until they are done with.
        public subscript(index: Int) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: file.unsafeBytes[starts[index]..<starts[index + 1] - 8])
        }

        /// Returns a string, with U+FFFD in place of what is not UTF-8.
        public func string(at index: Int) -> String {
            String(decoding: self[index], as: UTF8.self)
        }
    }

    /// The keys and values that describe a model, in the file's order.
    ///
    /// Values are decoded when asked for. Files in the wild write the same key with different integer types,
    /// so the accessors convert among them, and refuse a value that does not fit.
    public struct Metadata: Sendable {
        struct Entry: Sendable {
            let key: String
            let type: ValueType
            /// Where the value begins.
            let offset: Int
        }

        let file: MappedFile
        let entries: [Entry]
        private let indices: [ExactString: Int]

        init(file: MappedFile, entries: [Entry], indices: [ExactString: Int]) {
            self.file = file
            self.entries = entries
            self.indices = indices
        }

        /// All keys, in the file's order.
        public var keys: [String] { entries.map(\.key) }

        /// Returns whether the file has a value for `key`.
        public func contains(_ key: String) -> Bool {
            indices[ExactString(key)] != nil
        }

        /// Returns the type of the value for `key`, or `nil` when there is none.
        public func type(of key: String) -> ValueType? {
            indices[ExactString(key)].map { entries[$0].type }
        }

        /// Returns the value for `key` as the file has it.
        ///
        /// - Throws: `GGUFError` when the key is missing.
        public func value(_ key: String) throws(GGUFError) -> Value {
            guard let index = indices[ExactString(key)] else {
                throw GGUFError(path: file.path, problem: .missingKey(key))
            }
            var reader = GGUFReader(file: file, offset: entries[index].offset)
            return try reader.readValue(of: entries[index].type, key: key)
        }

        /// Returns the integer for `key`, whatever integer type the file gives it.
        ///
        /// - Throws: `GGUFError` when the key is missing, its value is no integer, or it does not fit.
        public func integer<Integer: FixedWidthInteger>(
            _ key: String, as type: Integer.Type = Int.self
        ) throws(GGUFError) -> Integer {
            let value = try value(key)
            if let integer = value.integer(type) { return integer }
            throw integerError(key, value, type)
        }

        /// Returns the integer for `key`, or `fallback` when the key is missing.
        ///
        /// - Throws: `GGUFError` when the value is no integer or does not fit.
        public func integer<Integer: FixedWidthInteger>(
            _ key: String, default fallback: Integer
        ) throws(GGUFError) -> Integer {
            contains(key) ? try integer(key, as: Integer.self) : fallback
        }

        /// Returns the floating-point number for `key`.
        ///
        /// - Throws: `GGUFError` when the key is missing or its value is neither float32 nor float64.
        public func double(_ key: String) throws(GGUFError) -> Double {
            switch try value(key) {
            case .float32(let number): return Double(number)
            case .float64(let number): return number
            case let other: throw conversionError(key, other, wanted: "float32 or float64")
            }
        }

        /// Returns the floating-point number for `key`, or `fallback` when the key is missing.
        ///
        /// - Throws: `GGUFError` when the value is neither float32 nor float64.
        public func double(_ key: String, default fallback: Double) throws(GGUFError) -> Double {
            contains(key) ? try double(key) : fallback
        }

        /// Returns the truth value for `key`.
        ///
        /// - Throws: `GGUFError` when the key is missing or its value is not a bool.
        public func boolean(_ key: String) throws(GGUFError) -> Bool {
            let value = try value(key)
            guard case .boolean(let boolean) = value else {
                throw conversionError(key, value, wanted: "bool")
            }
            return boolean
        }

        /// Returns the truth value for `key`, or `fallback` when the key is missing.
        ///
        /// - Throws: `GGUFError` when the value is not a bool.
        public func boolean(_ key: String, default fallback: Bool) throws(GGUFError) -> Bool {
            contains(key) ? try boolean(key) : fallback
        }

        /// Returns the string for `key`.
        ///
        /// - Throws: `GGUFError` when the key is missing, or its value is not a string or not UTF-8.
        public func string(_ key: String) throws(GGUFError) -> String {
            let value = try value(key)
            guard case .string(let slice) = value else {
                throw conversionError(key, value, wanted: "string")
            }
            if let invalid = slice.unsafeBytes.offsetOfInvalidUTF8 {
                throw GGUFError(
                    path: file.path, offset: slice.range.lowerBound + invalid,
                    problem: .notUTF8("the value of '\(key)'"))
            }
            return slice.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        }

        /// Returns the string for `key`, or `fallback` when the key is missing.
        ///
        /// - Throws: `GGUFError` when the value is not a string or not UTF-8.
        public func string(_ key: String, default fallback: String) throws(GGUFError) -> String {
            contains(key) ? try string(key) : fallback
        }

        /// Returns the array for `key`.
        ///
        /// - Throws: `GGUFError` when the key is missing or its value is not an array.
        public func array(_ key: String) throws(GGUFError) -> ValueArray {
            let value = try value(key)
            guard case .array(let array) = value else {
                throw conversionError(key, value, wanted: "array")
            }
            return array
        }

        /// Returns the strings of the array for `key`, left in the file.
        ///
        /// - Throws: `GGUFError` when the key is missing or its value is not an array of strings.
        public func strings(_ key: String) throws(GGUFError) -> StringArray {
            let value = try value(key)
            guard case .array(let array) = value, array.elementType == .string else {
                throw conversionError(key, value, wanted: "array of strings")
            }
            return try StringArray(array)
        }

        /// Returns the integers of the array for `key`, whatever integer type the file gives them.
        ///
        /// - Throws: `GGUFError` when the key is missing, its value is not an array of integers, or one of
        ///   them does not fit.
        public func integers<Integer: FixedWidthInteger>(
            _ key: String, as type: Integer.Type = Int.self
        ) throws(GGUFError) -> [Integer] {
            let array = try array(key)
            var reader = GGUFReader(file: file, offset: array.start)
            var integers: [Integer] = []
            integers.reserveCapacity(array.count)
            for _ in 0..<array.count {
                let element = try reader.readValue(of: array.elementType, key: key)
                guard let integer = element.integer(type) else {
                    throw integerError(key, element, type, isElement: true)
                }
                integers.append(integer)
            }
            return integers
        }

        /// Returns the floating-point numbers of the array for `key`.
        ///
        /// - Throws: `GGUFError` when the key is missing or its value is not an array of such numbers.
        public func doubles(_ key: String) throws(GGUFError) -> [Double] {
            let array = try array(key)
            var reader = GGUFReader(file: file, offset: array.start)
            var numbers: [Double] = []
            numbers.reserveCapacity(array.count)
            for _ in 0..<array.count {
                switch try reader.readValue(of: array.elementType, key: key) {
                case .float32(let number): numbers.append(Double(number))
                case .float64(let number): numbers.append(number)
                case let other:
                    throw conversionError(key, other, wanted: "array of float32 or float64", isElement: true)
                }
            }
            return numbers
        }

        /// Says why `value`, or an element of it, is not what was wanted.
        private func conversionError(
            _ key: String, _ value: Value, wanted: String, isElement: Bool = false
        ) -> GGUFError {
            let found = isElement ? "array of \(value.typeName)" : value.typeName
            return GGUFError(
                path: file.path, offset: indices[ExactString(key)].map { entries[$0].offset },
                problem: .wrongType(key: key, wanted: wanted, found: found))
        }

        /// Says why `value`, or an element of it, is not an integer of the wanted type.
        private func integerError<Integer: FixedWidthInteger>(
            _ key: String, _ value: Value, _ type: Integer.Type, isElement: Bool = false
        ) -> GGUFError {
            guard let text = value.integerText else {
                return conversionError(
                    key, value, wanted: isElement ? "array of \(type)" : "\(type)", isElement: isElement)
            }
            return GGUFError(
                path: file.path, offset: indices[ExactString(key)].map { entries[$0].offset },
                problem: .outOfRange(key: key, value: text, wanted: "\(type)"))
        }
    }
}

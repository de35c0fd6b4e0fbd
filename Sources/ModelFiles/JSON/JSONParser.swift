/// Parses JSON from bytes by recursive descent, as deep as it is told and no deeper.
struct JSONParser {
    private let bytes: UnsafeRawBufferPointer
    private let maximumDepth: Int
    private var offset = 0

    static func parse(_ bytes: UnsafeRawBufferPointer, maximumDepth: Int) throws(JSONError) -> JSONValue {
        if let invalid = bytes.offsetOfInvalidUTF8 {
            throw JSONError(offset: invalid, problem: .notUTF8)
        }
        var parser = JSONParser(bytes: bytes, maximumDepth: maximumDepth)
        parser.skipWhitespace()
        let value = try parser.parseValue(depth: 0)
        parser.skipWhitespace()
        if parser.offset < bytes.count { throw parser.error(.trailingText) }
        return value
    }

    private init(bytes: UnsafeRawBufferPointer, maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    private func error(_ problem: JSONError.Problem) -> JSONError {
        JSONError(offset: offset, problem: problem)
    }

    private var byte: UInt8? {
        offset < bytes.count ? bytes[offset] : nil
    }

    private mutating func skipWhitespace() {
        while let byte, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            offset += 1
        }
    }

    /// The error for the byte at hand, when `wanted` should stand there.
    private func unexpected(_ wanted: String) -> JSONError {
        guard let byte else { return error(.unexpectedEnd) }
        return error(.unexpectedByte(byte, wanted: wanted))
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(JSONError) {
        guard let byte, UInt32(byte) == character.value else { throw unexpected("'\(character)'") }
        offset += 1
    }

    private mutating func parseValue(depth: Int) throws(JSONError) -> JSONValue {
        switch byte {
        case UInt8(ascii: "{"): return .object(try parseObject(depth: depth))
        case UInt8(ascii: "["): return .array(try parseArray(depth: depth))
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"): return try parseWord("true", .boolean(true))
        case UInt8(ascii: "f"): return try parseWord("false", .boolean(false))
        case UInt8(ascii: "n"): return try parseWord("null", .null)
        case let byte? where byte == UInt8(ascii: "-") || Self.isDigit(byte): return try parseNumber()
        default: throw unexpected("a value")
        }
    }

    private mutating func parseWord(_ word: String, _ value: JSONValue) throws(JSONError) -> JSONValue {
        for character in word.unicodeScalars {
            try expect(character)
        }
        return value
    }

    private mutating func parseArray(depth: Int) throws(JSONError) -> [JSONValue] {
        guard depth < maximumDepth else { throw error(.nestedTooDeeply(limit: maximumDepth)) }
        try expect("[")
        skipWhitespace()
        var elements: [JSONValue] = []
        if byte == UInt8(ascii: "]") {
            offset += 1
            return elements
        }
        while true {
            skipWhitespace()
            elements.append(try parseValue(depth: depth + 1))
            skipWhitespace()
            if byte == UInt8(ascii: "]") {
                offset += 1
                return elements
            }
            guard byte == UInt8(ascii: ",") else { throw unexpected("',' or ']'") }
            offset += 1
        }
    }

    private mutating func parseObject(depth: Int) throws(JSONError) -> JSONObject {
        guard depth < maximumDepth else { throw error(.nestedTooDeeply(limit: maximumDepth)) }
        try expect("{")
        skipWhitespace()
        var object = JSONObject()
        if byte == UInt8(ascii: "}") {
            offset += 1
            return object
        }
        while true {
            skipWhitespace()
            let keyOffset = offset
            guard byte == UInt8(ascii: "\"") else { throw unexpected("a key") }
            let key = try parseString()
            skipWhitespace()
            try expect(":")
            skipWhitespace()
            let value = try parseValue(depth: depth + 1)
            guard object.append(key, value) else {
                throw JSONError(offset: keyOffset, problem: .duplicateKey(key))
            }
            skipWhitespace()
            if byte == UInt8(ascii: "}") {
                offset += 1
                return object
            }
            guard byte == UInt8(ascii: ",") else { throw unexpected("',' or '}'") }
            offset += 1
        }
    }

    // MARK: - Numbers

    private static func isDigit(_ byte: UInt8) -> Bool {
        UInt8(ascii: "0") <= byte && byte <= UInt8(ascii: "9")
    }

    private mutating func skipDigits() throws(JSONError) {
        let start = offset
        while let byte, Self.isDigit(byte) {
            offset += 1
        }
        if offset == start { throw error(.malformedNumber) }
    }

    private mutating func parseNumber() throws(JSONError) -> JSONValue {
        let start = offset
        var isInteger = true
        if byte == UInt8(ascii: "-") { offset += 1 }
        if byte == UInt8(ascii: "0") {
            offset += 1
            if let byte, Self.isDigit(byte) { throw error(.malformedNumber) }
        } else {
            try skipDigits()
        }
        if byte == UInt8(ascii: ".") {
            isInteger = false
            offset += 1
            try skipDigits()
        }
        if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            isInteger = false
            offset += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { offset += 1 }
            try skipDigits()
        }
        let text = String(decoding: bytes[start..<offset], as: UTF8.self)
        // -0 is no integer: an Int64 would lose the sign.
        if isInteger, text != "-0", let integer = Int64(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else {
            throw JSONError(offset: start, problem: .numberOutOfRange)
        }
        return .number(number)
    }

    // MARK: - Strings

    private mutating func parseString() throws(JSONError) -> String {
        try expect("\"")
        var start = offset
        var decoded: [UInt8] = []
        while let byte {
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                if decoded.isEmpty {
                    return String(decoding: bytes[start..<offset - 1], as: UTF8.self)
                }
                decoded.append(contentsOf: bytes[start..<offset - 1])
                return String(decoding: decoded, as: UTF8.self)
            case UInt8(ascii: "\\"):
                decoded.append(contentsOf: bytes[start..<offset])
                decoded.append(contentsOf: String(try parseEscape()).utf8)
                start = offset
            case 0..<0x20:
                throw error(.controlCharacter(byte))
            default:
                offset += 1
            }
        }
        throw error(.unexpectedEnd)
    }

    private mutating func parseEscape() throws(JSONError) -> Unicode.Scalar {
        let start = offset
        offset += 1
        guard let byte else { throw error(.unexpectedEnd) }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            var value = try parseHexadecimal()
            if 0xD800...0xDBFF ~= value {
                try expect("\\")
                try expect("u")
                let low = try parseHexadecimal()
                guard 0xDC00...0xDFFF ~= low else {
                    throw JSONError(offset: start, problem: .invalidEscape)
                }
                value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
            }
            if let scalar = Unicode.Scalar(value) { return scalar }
            throw JSONError(offset: start, problem: .invalidEscape)
        default:
            throw JSONError(offset: start, problem: .invalidEscape)
        }
    }

    private mutating func parseHexadecimal() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte else { throw error(.unexpectedEnd) }
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error(.unexpectedByte(byte, wanted: "a hexadecimal digit"))
            }
            value = value << 4 | UInt32(digit)
            offset += 1
        }
        return value
    }
}

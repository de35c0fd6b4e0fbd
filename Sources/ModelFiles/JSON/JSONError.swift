/// Text that is not JSON, or a value that JSON cannot hold.
public struct JSONError: Error, Equatable, CustomStringConvertible {
    /// What went wrong.
    public enum Problem: Equatable, Sendable {
        /// The text ends within a value.
        case unexpectedEnd
        /// A byte that cannot stand where it stands.
        case unexpectedByte(UInt8, wanted: String)
        /// Text after the value's end.
        case trailingText
        /// A number that breaks JSON's grammar.
        case malformedNumber
        /// A number beyond the range of `Double`.
        case numberOutOfRange
        /// An escape that JSON does not have, or half of a surrogate pair.
        case invalidEscape
        /// A control character within a string, which JSON wants escaped.
        case controlCharacter(UInt8)
        /// Bytes that are not UTF-8.
        case notUTF8
        /// A key that occurs twice in one object.
        case duplicateKey(String)
        /// Values within values, deeper than the limit.
        case nestedTooDeeply(limit: Int)
        /// An infinity or a NaN was to be written.
        case notFinite(Double)
    }

    /// The offset in bytes from the text's beginning; when writing, the bytes written so far.
    public let offset: Int
    /// What went wrong.
    public let problem: Problem

    /// What went wrong, where, and what to try.
    public var description: String {
        "JSON, at byte \(offset): \(explanation)"
    }

    private var explanation: String {
        switch problem {
        case .unexpectedEnd:
            "the text ends within a value. Check that it is whole."
        case .unexpectedByte(let byte, let wanted):
            "\(wanted) is wanted, but the byte is \(byte) "
                + "('\(String(Unicode.Scalar(byte)).debugDescription.dropFirst().dropLast())'). Correct the text."
        case .trailingText:
            "there is text after the value. Remove it."
        case .malformedNumber:
            "the number is malformed. Write it as in -12, 0.5 or 1e-3."
        case .numberOutOfRange:
            "the number is too large for a Double. Write a smaller one."
        case .invalidEscape:
            "the escape is not one of JSON's, or half of a surrogate pair. Correct it."
        case .controlCharacter(let byte):
            "the string holds the control character \(byte). Escape it."
        case .notUTF8:
            "the text is not UTF-8. Convert it."
        case .duplicateKey(let key):
            "the key '\(key)' occurs twice in one object. Remove one."
        case .nestedTooDeeply(let limit):
            "the values nest deeper than \(limit). Flatten them."
        case .notFinite(let number):
            "\(number) cannot be written, since JSON has finite numbers only. Replace it."
        }
    }
}

/// How a text is changed before it is cut: one of the normalizers of the Python package `tokenizers`.
enum Normalizer: Sendable {
    case bert(BERTNormalizer)
    case strip(left: Bool, right: Bool)
    case stripMarks
    case lowercase
    case unicode(compatibility: Bool, composed: Bool)
    /// Some control characters are removed, and unusual spaces become spaces.
    case machineTranslation
    case characterMap(PrecompiledCharacterMap)
    case replace(TextPattern, with: [UInt8])
    case prepend([UInt8])

    /// Writes the changed text to `output`, which is empty.
    func apply(_ input: borrowing TextBuffer, to output: inout TextBuffer) {
        switch self {
        case .bert(let normalizer):
            normalizer.apply(input, to: &output)
        case .strip(let left, let right):
            output.append(input, Self.stripped(input.bytes, left: left, right: right))
        case .stripMarks:
            input.mapScalars(to: &output) { CharacterClasses.of($0).contains(.mark) ? nil : $0 }
        case .lowercase:
            let table = LowerCase.table
            input.forEachScalar { scalar, _, origin in
                let lower = table[scalar]
                if lower == 0 {
                    output.append(scalar, origin)
                } else {
                    output.append(lower & 0x1F_FFFF, origin)
                    if lower >> 21 > 0 { output.append(lower >> 21, origin) }
                }
            }
        case .unicode(let compatibility, let composed):
            Self.normalize(input, to: &output, compatibility: compatibility, composed: composed)
        case .machineTranslation:
            input.mapScalars(to: &output) { scalar in
                switch scalar {
                case 0x1...0x8, 0xB, 0xE...0x1F, 0x7F, 0x8F, 0x9F: nil
                case 0x9, 0xA, 0xC, 0xD, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: 0x20
                default: scalar
                }
            }
        case .characterMap(let map):
            map.apply(input, to: &output)
        case .replace(let pattern, let content):
            Self.replace(pattern, by: content, input, to: &output)
        case .prepend(let content):
            guard input.count > 0 else { return }
            let (_, length) = input.bytes.utf8Scalar(at: 0)
            output.append(contentsOf: content, input.origin(of: 0..<length))
            output.append(input, 0..<input.count)
        }
    }

    private static func stripped(_ text: UnsafeRawBufferPointer, left: Bool, right: Bool) -> Range<Int> {
        var (start, end) = (0, text.count)
        while left, start < end {
            let (scalar, length) = text.utf8Scalar(at: start)
            guard CharacterClasses.of(scalar).contains(.whitespace) else { break }
            start += length
        }
        while right, end > start {
            let before = text.startOfScalar(before: end)
            guard CharacterClasses.of(text.utf8Scalar(at: before).value).contains(.whitespace) else { break }
            end = before
        }
        return start..<end
    }

    private static func normalize(
        _ input: borrowing TextBuffer, to output: inout TextBuffer, compatibility: Bool, composed: Bool
    ) {
        // No character below U+0300 (or, with compatibility, U+0080) is changed where composition follows.
        let limit: UInt8 = composed && !compatibility ? 0xCC : 0x80
        if !input.bytes.contains(where: { $0 >= limit }) {
            output.append(input, 0..<input.count)
            return
        }
        let data = UnicodeNormalization.shared
        var items: [UnicodeNormalization.Item] = []
        items.reserveCapacity(input.count)
        input.forEachScalar { scalar, _, origin in
            data.decompose(scalar, compatibility: compatibility, origin, into: &items)
        }
        data.order(&items)
        if composed { data.compose(&items) }
        for item in items { output.append(item.scalar, item.origin) }
    }

    private static func replace(
        _ pattern: TextPattern, by content: [UInt8], _ input: borrowing TextBuffer, to output: inout TextBuffer
    ) {
        let text = input.bytes
        var copied = 0
        while !output.isOverfull, let match = pattern.firstMatch(in: text, from: copied) {
            output.append(input, copied..<match.lowerBound)
            output.append(contentsOf: content, input.origin(of: match))
            copied = match.upperBound
        }
        output.append(input, copied..<text.count)
    }
}

/// What a `Replace` or a `Split` looks for, of what regular expressions such files use.
enum TextPattern: Sendable {
    /// These bytes, of which there is at least one.
    case literal([UInt8])
    /// At least so many of a byte, as many as there are.
    case run(of: UInt8, atLeast: Int)
    /// Whitespace, as much as there is.
    case whitespace

    /// Returns the leftmost match at or behind `start`.
    func firstMatch(in text: UnsafeRawBufferPointer, from start: Int) -> Range<Int>? {
        var offset = start
        switch self {
        case .literal(let literal):
            guard let first = literal.first else { return nil }
            while text.count - offset >= literal.count {
                if text[offset] == first, text[offset..<offset + literal.count].elementsEqual(literal) {
                    return offset..<offset + literal.count
                }
                offset += 1
            }
        case .run(let byte, let minimum):
            while offset < text.count {
                var end = offset
                while end < text.count, text[end] == byte { end += 1 }
                if end - offset >= minimum, end > offset { return offset..<end }
                offset = end + 1
            }
        case .whitespace:
            var first: Int?
            while offset < text.count {
                let (scalar, length) = text.utf8Scalar(at: offset)
                let isWhitespace = CharacterClasses.of(scalar).contains(.whitespace)
                if let first, !isWhitespace { return first..<offset }
                if first == nil, isWhitespace { first = offset }
                offset += length
            }
            if let first { return first..<offset }
        }
        return nil
    }
}

extension TextBuffer {
    /// Calls `body` with each scalar, its range and its origin.
    @inline(__always)
    borrowing func forEachScalar(_ body: (UInt32, Range<Int>, Origin) -> Void) {
        let text = bytes
        var offset = 0
        while offset < text.count {
            let (scalar, length) = text.utf8Scalar(at: offset)
            let range = offset..<offset + length
            body(scalar, range, tracksOrigins ? origin(of: range) : Origin(start: 0, end: 0))
            offset += length
        }
    }

    /// Appends to `output` what `transform` makes of each scalar, or nothing for `nil`.
    @inline(__always)
    borrowing func mapScalars(to output: inout TextBuffer, _ transform: (UInt32) -> UInt32?) {
        forEachScalar { scalar, _, origin in
            if let scalar = transform(scalar) { output.append(scalar, origin) }
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The offset of the scalar that ends at `end`, in valid UTF-8 and behind its beginning.
    func startOfScalar(before end: Int) -> Int {
        var start = end - 1
        while start > 0, self[start] & 0xC0 == 0x80 { start -= 1 }
        return start
    }
}

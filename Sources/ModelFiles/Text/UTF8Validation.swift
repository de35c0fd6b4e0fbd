/// What the bytes at some offset are as UTF-8 (The Unicode Standard, table 3-7).
enum UTF8Sequence: Equatable {
    /// A whole scalar of `length` bytes.
    case whole(length: Int)
    /// The beginning of a scalar that the end of the bytes cuts off.
    case incomplete
    /// Neither: no byte that follows could make it valid.
    case invalid
}

extension UnsafeRawBufferPointer {
    /// Returns what the bytes at `offset`, which is within bounds, are as UTF-8.
    func utf8Sequence(at offset: Int) -> UTF8Sequence {
        let first = self[offset]
        if first < 0x80 { return .whole(length: 1) }
        let length: Int
        // The second byte's range excludes overlong forms, surrogates and values above U+10FFFF.
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0:
            length = 3
            second = 0xA0...0xBF
        case 0xED:
            length = 3
            second = 0x80...0x9F
        case 0xE1...0xEF: length = 3
        case 0xF0:
            length = 4
            second = 0x90...0xBF
        case 0xF1...0xF3: length = 4
        case 0xF4:
            length = 4
            second = 0x80...0x8F
        default: return .invalid
        }
        if offset + 1 == count { return .incomplete }
        if !second.contains(self[offset + 1]) { return .invalid }
        var index = 2
        while index < length {
            if offset + index == count { return .incomplete }
            if self[offset + index] & 0xC0 != 0x80 { return .invalid }
            index += 1
        }
        return .whole(length: length)
    }

    /// The offset of the first byte that is not part of valid UTF-8, or `nil`.
    package var offsetOfInvalidUTF8: Int? {
        var offset = 0
        while offset < count {
            // Eight ASCII bytes at once.
            if count - offset >= 8,
                loadUnaligned(fromByteOffset: offset, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
            {
                offset += 8
                continue
            }
            guard case .whole(let length) = utf8Sequence(at: offset) else { return offset }
            offset += length
        }
        return nil
    }

    /// Returns the scalar at `offset` of bytes that are valid UTF-8, and its length in bytes.
    func utf8Scalar(at offset: Int) -> (value: UInt32, length: Int) {
        let first = UInt32(self[offset])
        if first < 0x80 { return (first, 1) }
        if first < 0xE0 { return ((first & 0x1F) << 6 | continuation(offset + 1), 2) }
        if first < 0xF0 {
            return ((first & 0x0F) << 12 | continuation(offset + 1) << 6 | continuation(offset + 2), 3)
        }
        let high = (first & 0x07) << 18 | continuation(offset + 1) << 12
        return (high | continuation(offset + 2) << 6 | continuation(offset + 3), 4)
    }

    private func continuation(_ offset: Int) -> UInt32 {
        UInt32(self[offset] & 0x3F)
    }
}

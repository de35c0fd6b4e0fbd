/// GPT-2's alphabet, in which byte-level vocabularies are written: one printable character for each byte.
///
/// Bytes that Latin-1 prints stand for themselves; the other 68, in order, for the characters from U+0100 on.
/// A space is thus written `Ġ`.
///
/// Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, `bytes_to_unicode`.
enum ByteAlphabet {
    /// The character that stands for each byte.
    static let scalars: [UInt32] = {
        var next: UInt32 = 0x100
        return (0...0xFF).map { (byte: UInt32) -> UInt32 in
            if 0x21...0x7E ~= byte || 0xA1...0xAC ~= byte || 0xAE...0xFF ~= byte { return byte }
            defer { next += 1 }
            return next
        }
    }()

    /// The byte that each character up to U+0143 stands for, or -1.
    private static let byteOfScalar: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() {
            table[Int(scalar)] = Int16(byte)
        }
        return table
    }()

    /// Appends the bytes that `text`, which is valid UTF-8, stands for.
    ///
    /// - Returns: Whether all of it is of the alphabet; `bytes` is unchanged otherwise.
    static func decode(_ text: UnsafeRawBufferPointer, into bytes: inout [UInt8]) -> Bool {
        let start = bytes.count
        let table = byteOfScalar
        var offset = 0
        while offset < text.count {
            let (scalar, length) = text.utf8Scalar(at: offset)
            guard scalar < 0x144, table[Int(scalar)] >= 0 else {
                bytes.removeSubrange(start...)
                return false
            }
            bytes.append(UInt8(truncatingIfNeeded: table[Int(scalar)]))
            offset += length
        }
        return true
    }

    /// Returns how the bytes are written.
    static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var text = String.UnicodeScalarView()
        for byte in bytes {
            // Every entry of the table is below the surrogates; the replacement is never taken.
            text.append(Unicode.Scalar(scalars[Int(byte)]) ?? "\u{FFFD}")
        }
        return String(text)
    }
}

/// Bytes in the 64 characters of RFC 4648, section 4.
enum Base64 {
    /// Returns the bytes, or `nil` where the text has other characters or padding where none belongs.
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        var (bits, bitCount, paddingCount): (UInt32, UInt32, Int) = (0, 0, 0)
        for character in text {
            let value: UInt8
            switch character {
            case 0x41...0x5A: value = character - 0x41
            case 0x61...0x7A: value = character - 0x61 + 26
            case 0x30...0x39: value = character - 0x30 + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            case UInt8(ascii: "="):
                paddingCount += 1
                continue
            default: return nil
            }
            guard paddingCount == 0 else { return nil }
            bits = (bits << 6 | UInt32(value)) & 0xFF_FFFF
            bitCount += 6
            if bitCount >= 8 {
                bitCount -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> bitCount))
            }
        }
        return paddingCount <= 2 && text.count % 4 == 0 ? bytes : nil
    }
}

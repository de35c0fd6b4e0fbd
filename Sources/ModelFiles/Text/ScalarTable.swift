/// A value for every Unicode scalar, in blocks of 256 of which equal ones are stored once.
struct ScalarTable<Value: Hashable & Sendable>: Sendable {
    private let blockOfScalar: [UInt16]
    private let values: [Value]

    /// Creates a table from one value for each code point up to U+10FFFF.
    init(_ all: [Value]) {
        var blockOfScalar: [UInt16] = []
        var values: [Value] = []
        var seen: [ArraySlice<Value>: UInt16] = [:]
        for start in stride(from: 0, to: all.count, by: 256) {
            let block = all[start..<Swift.min(start + 256, all.count)]
            // Most blocks are what the one before them is, which is seen sooner than looked up.
            if let last = blockOfScalar.last, block.elementsEqual(all[start - 256..<start]) {
                blockOfScalar.append(last)
                continue
            }
            if let index = seen[block] {
                blockOfScalar.append(index)
            } else {
                // There are 4352 blocks at most.
                let index = UInt16(truncatingIfNeeded: values.count >> 8)
                seen[block] = index
                blockOfScalar.append(index)
                values += block
            }
        }
        self.blockOfScalar = blockOfScalar
        self.values = values
    }

    /// The value of a scalar, which is at most U+10FFFF.
    @inline(__always)
    subscript(scalar: UInt32) -> Value {
        values[Int(blockOfScalar[Int(scalar >> 8)]) << 8 | Int(scalar & 0xFF)]
    }
}

/// Reads the numbers of ``UnicodeTables``, one after the other.
struct TableReader {
    private let text: UnsafeBufferPointer<UInt8>
    private var offset = 0

    init(_ text: StaticString) {
        self.text = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    }

    /// The next hexadecimal number, and the character that ends it.
    mutating func next() -> (number: UInt32, end: UInt8)? {
        guard offset < text.count else { return nil }
        var number: UInt32 = 0
        while offset < text.count {
            let byte = text[offset]
            offset += 1
            switch byte {
            case 0x30...0x39: number = number << 4 | UInt32(byte & 0xF)
            case 0x61...0x66: number = number << 4 | UInt32(byte - 0x57)
            default: return (number, byte)
            }
        }
        return (number, 0x20)
    }

    /// Calls `body` with each range of a set of characters.
    static func forEachRange(_ text: StaticString, _ body: (Range<Int>) -> Void) {
        var reader = TableReader(text)
        var end = 0
        while let gap = reader.next(), let length = reader.next() {
            let start = end + Int(gap.number)
            end = start + Int(length.number)
            body(start..<end)
        }
    }

    /// Calls `body` with each character of a mapping and what it becomes.
    static func forEachMapping(_ text: StaticString, _ body: (Int, [UInt32]) -> Void) {
        var reader = TableReader(text)
        var character = 0
        while let gap = reader.next() {
            character += Int(gap.number)
            var becomes: [UInt32] = []
            if gap.end == UInt8(ascii: ":") {
                while let part = reader.next() {
                    becomes.append(part.number)
                    if part.end != UInt8(ascii: ".") { break }
                }
            }
            body(character, becomes)
            character += 1
        }
    }
}

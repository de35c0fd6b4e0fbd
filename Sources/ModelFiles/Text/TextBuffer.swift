/// A text on its way through the steps of a tokenizer: valid UTF-8, and where each of its bytes comes from.
///
/// Behind the last byte follow ``padding`` readable zeros, so that whole words can be loaded from any place.
struct TextBuffer: ~Copyable {
    /// The range of bytes of the original text that a byte was made from.
    struct Origin {
        var start: UInt32
        var end: UInt32
    }

    static let padding = 32
    /// The most bytes that a text is let grow to.
    static let maximumCount = 1 << 28

    // Safe: owned by this value alone, `capacity + padding` bytes, all of them initialised.
    private var memory: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    private(set) var count = 0
    /// One for each byte where origins are tracked, and none otherwise.
    private(set) var origins: [Origin] = []
    private(set) var tracksOrigins = false
    /// Whether the text would have become longer than ``maximumCount``; what is in it then is of no use.
    private(set) var isOverfull = false

    init() {
        capacity = 256
        memory = .allocate(capacity: capacity + Self.padding)
        memory.initialize(repeating: 0, count: capacity + Self.padding)
    }

    deinit {
        memory.deallocate()
    }

    /// Begins a new text.
    mutating func removeAll(trackingOrigins: Bool) {
        count = 0
        origins.removeAll(keepingCapacity: true)
        tracksOrigins = trackingOrigins
        isOverfull = false
    }

    /// All bytes; valid until the text changes.
    var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: memory, count: count)
    }

    /// The range of the original text that a range of this one comes from.
    func origin(of range: Range<Int>) -> Origin {
        guard tracksOrigins, var origin = range.first.map({ origins[$0] }) else { return Origin(start: 0, end: 0) }
        // Combining characters may have changed places.
        for other in origins[range] {
            origin.start = Swift.min(origin.start, other.start)
            origin.end = Swift.max(origin.end, other.end)
        }
        return origin
    }

    /// Makes room for more bytes.
    @inline(__always)
    mutating func reserve(_ more: Int) {
        if count + more > capacity { grow(more) }
    }

    private mutating func grow(_ more: Int) {
        if count + more > Self.maximumCount {
            // Begins anew, so that a file or text that asks for too much costs no more memory.
            isOverfull = true
            count = 0
            origins.removeAll()
            if more <= capacity { return }
        }
        let larger = Swift.max(capacity * 2, count + more)
        let new = UnsafeMutablePointer<UInt8>.allocate(capacity: larger + Self.padding)
        new.update(from: memory, count: count)
        (new + count).initialize(repeating: 0, count: larger + Self.padding - count)
        memory.deallocate()
        memory = new
        capacity = larger
    }

    /// Appends a byte, which with its neighbours has to make up a scalar.
    @inline(__always)
    mutating func append(byte: UInt8, _ origin: Origin) {
        reserve(1)
        memory[count] = byte
        count += 1
        if tracksOrigins { origins.append(origin) }
    }

    /// Appends a scalar that has one origin.
    @inline(__always)
    mutating func append(_ scalar: UInt32, _ origin: Origin) {
        if scalar < 0x80 {
            append(byte: UInt8(truncatingIfNeeded: scalar), origin)
            return
        }
        appendLong(scalar, origin)
    }

    private mutating func appendLong(_ scalar: UInt32, _ origin: Origin) {
        func continuation(_ shift: UInt32) -> UInt8 { 0x80 | UInt8(truncatingIfNeeded: scalar >> shift & 0x3F) }
        if scalar < 0x800 {
            append(byte: 0xC0 | UInt8(truncatingIfNeeded: scalar >> 6), origin)
        } else {
            if scalar < 0x10000 {
                append(byte: 0xE0 | UInt8(truncatingIfNeeded: scalar >> 12), origin)
            } else {
                append(byte: 0xF0 | UInt8(truncatingIfNeeded: scalar >> 18 & 7), origin)
                append(byte: continuation(12), origin)
            }
            append(byte: continuation(6), origin)
        }
        append(byte: continuation(0), origin)
    }

    /// Appends text that has one origin.
    mutating func append(contentsOf text: [UInt8], _ origin: Origin) {
        text.withUnsafeBytes { append($0) { _ in origin } }
    }

    /// Appends bytes with what `origin` says of each of them, if anyone asks.
    @inline(__always)
    mutating func append(_ text: UnsafeRawBufferPointer, origin: (Int) -> Origin) {
        reserve(text.count)
        UnsafeMutableRawBufferPointer(start: memory + count, count: text.count).copyMemory(from: text)
        count += text.count
        if tracksOrigins {
            for index in 0..<text.count { origins.append(origin(index)) }
        }
    }

    /// Appends a range of another text with its origins.
    @inline(__always)
    mutating func append(_ other: borrowing TextBuffer, _ range: Range<Int>) {
        reserve(range.count)
        let text = UnsafeRawBufferPointer(rebasing: other.bytes[range])
        UnsafeMutableRawBufferPointer(start: memory + count, count: text.count).copyMemory(from: text)
        count += text.count
        if tracksOrigins { origins.append(contentsOf: other.origins[range]) }
    }

    /// Appends ASCII from another text, each byte as `table` has it; bytes for which it has 0xFF are left out.
    ///
    /// - Returns: Where the first byte outside ASCII is, or the end.
    mutating func appendASCII(_ other: borrowing TextBuffer, from start: Int, table: [UInt8]) -> Int {
        let text = other.bytes
        reserve(text.count - start)
        var offset = start
        var count = count
        let memory = memory
        table.withUnsafeBufferPointer { table in
            while offset < text.count, text[offset] < 0x80 {
                let byte = table[Int(text[offset])]
                memory[count] = byte
                count += byte < 0x80 ? 1 : 0
                if tracksOrigins, byte < 0x80 { origins.append(other.origins[offset]) }
                offset += 1
            }
        }
        self.count = count
        return offset
    }
}

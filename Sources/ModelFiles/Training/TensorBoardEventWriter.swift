#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Writes a run's figures to an event file that TensorBoard shows.
///
/// An event file is a row of records, each framed as TensorFlow's record format has it:
///
/// ```
/// UInt64  length               little-endian
/// UInt32  masked CRC-32C of the length's bytes
/// bytes   data                 a protobuf message `Event`
/// UInt32  masked CRC-32C of the data
/// ```
///
/// The messages are encoded by hand: five fields of three messages are all that is written and nothing is read, which
/// is less code than the declarations that a protobuf library would be given.
///
/// Each record is with the system when ``write(step:_:wallTime:)`` returns. A run that is resumed writes a file of its own,
/// which TensorBoard reads after the earlier ones; it begins with a session that makes it forget later steps of theirs.
public final class TensorBoardEventWriter {
    /// The event file's path.
    public var path: String { file.path }

    private let file: AppendedFile

    /// Creates a new event file in a folder, which is made if it is absent.
    ///
    /// - Parameters:
    ///   - folder: The run's folder, below the one that TensorBoard is given.
    ///   - step: The step that the run goes on from; figures of later steps in earlier files are forgotten.
    ///   - wallTime: Seconds since 1970; `nil` for now.
    /// - Throws: `FileError` when the system refuses.
    public init(folder: String, resumingFrom step: Int? = nil, wallTime: Double? = nil) throws(FileError) {
        try Folder.create(folder)
        let wallTime = wallTime ?? Self.now
        // TensorBoard takes for an event file what has `tfevents` in its name, and reads them in the order of names.
        let seconds = String(Int(exactly: wallTime.rounded(.down)) ?? 0)
        let padded = String(repeating: "0", count: max(0, 10 - seconds.utf8.count)) + seconds
        let name = "\(folder)/events.out.tfevents.\(padded).\(Self.hostName).\(getpid())"
        var number = 0
        while try Folder.kind(of: "\(name).\(number)") != .absent { number += 1 }
        file = try AppendedFile("\(name).\(number)", keeping: 0, isNew: true)

        var version = Self.event(wallTime: wallTime, step: 0)
        version.append(3, bytes: Array("brain.Event:2".utf8))
        try append(version)
        if let step {
            var session = ProtobufMessage()
            session.append(1, integer: 1)  // START
            var event = Self.event(wallTime: wallTime, step: step &+ 1)
            event.append(7, bytes: session.bytes)
            try append(event)
        }
    }

    /// Appends the figures of a step as one event.
    ///
    /// - Parameters:
    ///   - step: The number of steps trained.
    ///   - values: Figures by tag; tags with the same text before a `/` stand together.
    ///   - wallTime: Seconds since 1970; `nil` for now.
    /// - Throws: `FileError` when the system refuses; nothing of the event is written then.
    public func write(
        step: Int, _ values: [(name: String, value: Double)], wallTime: Double? = nil
    ) throws(FileError) {
        var summary = ProtobufMessage()
        for (name, value) in values {
            var scalar = ProtobufMessage()
            scalar.append(1, bytes: Array(name.utf8))
            scalar.append(2, float: Float(value))
            summary.append(1, bytes: scalar.bytes)
        }
        var event = Self.event(wallTime: wallTime ?? Self.now, step: step)
        event.append(5, bytes: summary.bytes)
        try append(event)
    }

    /// Waits until the disk has all events.
    ///
    /// - Throws: `FileError` when the system refuses.
    public func synchronize() throws(FileError) {
        try file.synchronize()
    }

    /// An event's time and step; `Event` has them as its fields 1 and 2.
    private static func event(wallTime: Double, step: Int) -> ProtobufMessage {
        var event = ProtobufMessage()
        event.append(1, double: wallTime)
        // A field that is zero is left out.
        if step != 0 { event.append(2, integer: UInt64(bitPattern: Int64(step))) }
        return event
    }

    private func append(_ event: ProtobufMessage) throws(FileError) {
        try file.append(Self.record(event.bytes))
    }

    /// Frames the data of a record.
    static func record(_ data: [UInt8]) -> [UInt8] {
        func little(_ number: some FixedWidthInteger) -> [UInt8] {
            withUnsafeBytes(of: number.littleEndian) { Array($0) }
        }
        let length = little(UInt64(data.count))
        return length + little(CRC32C.masked(length)) + data + little(CRC32C.masked(data))
    }

    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// This machine's name without what a path cannot hold.
    private static var hostName: String {
        var buffer = [CChar](repeating: 0, count: 257)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let name = bytes.filter { $0 != UInt8(ascii: "/") }
        return name.isEmpty ? "localhost" : String(decoding: name, as: UTF8.self)
    }
}

/// A protobuf message to which fields are appended ("Encoding", protobuf.dev).
private struct ProtobufMessage {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ field: UInt64, integer: UInt64) {
        append(field << 3)
        append(integer)
    }

    mutating func append(_ field: UInt64, double: Double) {
        append(field << 3 | 1)
        withUnsafeBytes(of: double.bitPattern.littleEndian) { bytes += $0 }
    }

    mutating func append(_ field: UInt64, bytes content: [UInt8]) {
        append(field << 3 | 2)
        append(UInt64(content.count))
        bytes += content
    }

    mutating func append(_ field: UInt64, float: Float) {
        append(field << 3 | 5)
        withUnsafeBytes(of: float.bitPattern.littleEndian) { bytes += $0 }
    }

    /// Appends a number, seven bits to a byte, the lowest first.
    private mutating func append(_ number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }
}

/// The cyclic redundancy check with Castagnoli's polynomial (RFC 3720, appendix B.4).
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { (index: UInt32) in
        (0..<8).reduce(index) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    }

    /// Returns the check of the bytes.
    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        let table = table
        return ~bytes.reduce(~0) { table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
    }

    /// Returns the check as records hold it: rotated and shifted, since a check of data that holds checks is weak.
    static func masked(_ bytes: [UInt8]) -> UInt32 {
        let checksum = checksum(bytes)
        return (checksum >> 15 | checksum << 17) &+ 0xA282_EAD8
    }
}

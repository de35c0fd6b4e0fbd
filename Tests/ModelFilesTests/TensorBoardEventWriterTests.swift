import TestSupport
import Testing

@testable import ModelFiles

private func bytes(_ path: String) throws -> [UInt8] {
    try MappedFile(reading: path).withUnsafeBytes { Array($0) }
}

/// The data of each record of an event file, whose checks hold.
private func records(_ bytes: [UInt8]) throws -> [[UInt8]] {
    var records: [[UInt8]] = []
    var rest = bytes[...]
    while !rest.isEmpty {
        let length = rest.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        let data = Array(rest.dropFirst(12).prefix(length))
        let record = TensorBoardEventWriter.record(data)
        try #require(Array(rest.prefix(record.count)) == record)
        records.append(data)
        rest = rest.dropFirst(record.count)
    }
    return records
}

@Suite struct `TensorBoard events` {
    // RFC 3720, appendix B.4; the last is the check value of the catalogue of parametrised CRC algorithms.
    @Test func `the check is CRC-32C`() {
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(CRC32C.checksum([UInt8](0..<32)) == 0x46DD_794E)
        #expect(CRC32C.checksum([UInt8]((0..<32).reversed())) == 0x113F_DB5C)
        #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
        #expect(CRC32C.checksum([]) == 0)
    }

    // from tensorboard.summary.writer.record_writer import RecordWriter   (2.21)
    // f = io.BytesIO(); RecordWriter(f).write(b"abc"); f.getvalue().hex()
    @Test func `records are framed as TensorFlow frames them`() {
        let record = TensorBoardEventWriter.record(Array("abc".utf8))
        #expect(
            record.map { String(Int($0) + 256, radix: 16).dropFirst() }.joined()
                == "0300000000000000b099490e6162636e57f121")
    }

    // Event(wall_time=1700000000.25, file_version="brain.Event:2").SerializeToString().hex()
    // Event(wall_time=1700000001.5, step=300, summary=Summary(value=[
    //     Summary.Value(tag="loss/train", simple_value=2.5), Summary.Value(tag="é", simple_value=-1)])), likewise
    @Test func `messages are those of TensorBoard's own`() throws {
        try withTemporaryFolder { folder in
            let writer = try TensorBoardEventWriter(folder: "\(folder)/run", wallTime: 1_700_000_000.25)
            try writer.write(step: 300, [("loss/train", 2.5), ("é", -1)], wallTime: 1_700_000_001.5)
            let name = try #require(writer.path.split(separator: "/").last)
            #expect(name.hasPrefix("events.out.tfevents.1700000000."))
            #expect(name.hasSuffix(".0"))
            let hexadecimal = try records(bytes(writer.path)).map { record in
                record.map { String(Int($0) + 256, radix: 16).dropFirst() }.joined()
            }
            #expect(
                hexadecimal == [
                    "0900001040fc54d9411a0d627261696e2e4576656e743a32",
                    "0900006040fc54d94110ac022a1e0a110a0a6c6f73732f747261696e15000020400a090a02c3a915000080bf",
                ])
        }
    }

    @Test func `a resumed run writes a file of its own`() throws {
        try withTemporaryFolder { folder in
            let first = try TensorBoardEventWriter(folder: folder, wallTime: 12)
            let second = try TensorBoardEventWriter(folder: folder, resumingFrom: 7, wallTime: 12)
            #expect(names(in: folder).count == 2)
            #expect(first.path < second.path)
            #expect(first.path.contains("tfevents.0000000012."))
            let whole = try bytes(first.path)
            try second.write(step: 8, [("loss", 1)])
            try second.synchronize()
            #expect(try bytes(first.path) == whole)
            // The session that makes TensorBoard forget steps from 8 on: field 7, a message whose field 1 is 1.
            #expect(try records(bytes(second.path))[1].suffix(4) == [0x3A, 2, 8, 1])
        }
    }

    @Test func `a folder that cannot be made is named`() throws {
        try withTemporaryFolder { folder in
            try write([], to: "\(folder)/file")
            #expect(throws: FileError.self) { try TensorBoardEventWriter(folder: "\(folder)/file") }
        }
    }

    // For Scripts/check-tensorboard-events, which lets TensorBoard itself read what is written here.
    @Test(.enabled(if: TestEnvironment.variable("ATTENTION_EVENTS_FOLDER") != nil, "only TensorBoard's check wants it"))
    func `a sample for TensorBoard`() throws {
        let folder = try #require(TestEnvironment.variable("ATTENTION_EVENTS_FOLDER"))
        let path = "\(folder)/metrics.jsonl"
        func run(_ steps: Range<Int>, resumingFrom step: Int?, wallTime: Double, sign: Double) throws {
            let metrics = try MetricsWriter(path, resumingFrom: step)
            let events = try TensorBoardEventWriter(folder: folder, resumingFrom: step, wallTime: wallTime)
            for step in steps {
                let values = [("loss/train", sign / Double(step + 1)), ("learning rate", sign * 1e-3 * Double(step))]
                try metrics.write(step: step, values)
                try events.write(step: step, values, wallTime: wallTime + Double(step))
            }
        }
        // The first run is killed after step 149 and goes on from a checkpoint at 99.
        try run(0..<150, resumingFrom: nil, wallTime: 1_700_000_000, sign: -1)
        try run(100..<300, resumingFrom: 99, wallTime: 1_700_001_000, sign: 1)
    }
}

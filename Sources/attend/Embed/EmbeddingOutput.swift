import Foundation
import ModelFiles

/// A file of vectors that appears whole, at the end.
///
/// What is done goes to a part beside it, vector by vector; one that an interrupted run left is gone on with.
final class EmbeddingOutput: EmbeddingSink {
    /// What a file of vectors holds.
    enum Format {
        /// A line `{"text": …, "embedding": […]}` for each text.
        case jsonLines
        /// NumPy's array `[N, D]` of float32.
        case npy
        /// A tensor `embeddings`, `[N, D]`, float32.
        case safetensors

        init?(path: String) {
            if path.hasSuffix(".jsonl") || path.hasSuffix(".ndjson") {
                self = .jsonLines
            } else if path.hasSuffix(".npy") {
                self = .npy
            } else if path.hasSuffix(".safetensors") {
                self = .safetensors
            } else {
                return nil
            }
        }
    }

    private let path: String
    private let format: Format
    private let dimension: Int
    private let handle: FileHandle
    /// Texts whose vectors an interrupted run made, and how many of them were met again.
    private(set) var keptCount = 0
    private var metCount = 0
    private let headerByteCount: Int

    /// A part is a line that says of what, and then for each text the number of its bytes, the bytes, and the vector.
    private var partPath: String { "\(path).part" }
    private let part: Part

    private struct Part {
        var offsets: [Int] = []
        var end = 0
    }

    /// Begins a file, or goes on with it.
    ///
    /// - Parameters:
    ///   - path: Where to write; its ending says what.
    ///   - dimension: `D`.
    ///   - settings: What vectors depend on beside the text: a part of others is not gone on with.
    ///   - restart: Whether a part that is there is thrown away.
    /// - Throws: `CommandFailure` when the part cannot be written, or is of other settings.
    init(path: String, dimension: Int, settings: String, restart: Bool) throws {
        guard let format = Format(path: path) else {
            throw CommandFailure.usage("'\(path)' must end in .jsonl, .npy or .safetensors.")
        }
        self.path = path
        self.format = format
        self.dimension = dimension
        let header = Array("attend embed 1 \(dimension) \(settings)\n".utf8)
        headerByteCount = header.count
        let partPath = "\(path).part"
        if restart { try? FileManager.default.removeItem(atPath: partPath) }
        if !FileManager.default.fileExists(atPath: partPath) {
            guard FileManager.default.createFile(atPath: partPath, contents: Data(header)) else {
                throw CommandFailure.failure("cannot write '\(partPath)'. Check the folder, or write to another.")
            }
        }
        guard let handle = FileHandle(forUpdatingAtPath: partPath) else {
            throw CommandFailure.failure("cannot write '\(partPath)'. Check the folder, or write to another.")
        }
        self.handle = handle
        let found = try handle.read(upToCount: header.count) ?? Data()
        guard found.elementsEqual(header) else {
            throw CommandFailure.failure(
                "'\(partPath)' is of a run with another model or other settings. Begin anew with --restart, or write to "
                    + "another file.")
        }
        part = try Self.wholeRecords(handle, from: header.count, vectorByteCount: 4 * dimension)
        keptCount = part.offsets.count
        // What was written last may be torn.
        try handle.truncate(atOffset: UInt64(part.end))
        try handle.seekToEnd()
    }

    /// Where the records are that are whole.
    private static func wholeRecords(_ handle: FileHandle, from start: Int, vectorByteCount: Int) throws -> Part {
        let size = Int(try handle.seekToEnd())
        var part = Part(offsets: [], end: start)
        while part.end + 8 <= size {
            try handle.seek(toOffset: UInt64(part.end))
            guard let length = try handle.read(upToCount: 8)?.littleEndianInteger, length >= 0,
                length <= size - part.end - 8, vectorByteCount <= size - part.end - 8 - length
            else { break }
            part.offsets.append(part.end)
            part.end += 8 + length + vectorByteCount
        }
        return part
    }

    func pending(_ texts: [String]) throws -> ArraySlice<String> {
        var rest = texts[...]
        while metCount < keptCount, let text = rest.first {
            guard try record(part.offsets[metCount]).text.utf8.elementsEqual(text.utf8) else {
                throw CommandFailure.failure(
                    "'\(partPath)' was begun with other texts: number \(metCount + 1) differs. Begin anew with --restart, "
                        + "or write to another file.")
            }
            metCount += 1
            rest = rest.dropFirst()
        }
        try handle.seekToEnd()
        return rest
    }

    func write(_ texts: [String], _ vectors: [Float], _ dimension: Int) throws {
        var data = Data()
        for (index, text) in texts.enumerated() {
            withUnsafeBytes(of: Int64(text.utf8.count).littleEndian) { data.append(contentsOf: $0) }
            data.append(contentsOf: text.utf8)
            for number in vectors[index * dimension..<(index + 1) * dimension] {
                withUnsafeBytes(of: number.bitPattern.littleEndian) { data.append(contentsOf: $0) }
            }
        }
        do {
            try handle.write(contentsOf: data)
        } catch {
            throw CommandFailure.failure("cannot write '\(partPath)': \(error.localizedDescription)")
        }
    }

    /// Writes the file itself, and removes the part.
    func finish() throws {
        guard metCount == keptCount else {
            throw CommandFailure.failure(
                "'\(partPath)' was begun with \(keptCount) texts, and there are \(metCount). Begin anew with --restart."
            )
        }
        try handle.synchronize()
        let records = try Self.wholeRecords(handle, from: headerByteCount, vectorByteCount: 4 * dimension)
        let count = records.offsets.count
        do {
            switch format {
            case .safetensors:
                var bytes: [UInt8] = []
                bytes.reserveCapacity(4 * count * dimension)
                for offset in records.offsets { bytes += try record(offset).vector }
                try SafetensorsFile.write(
                    tensors: [
                        SafetensorsFile.TensorToWrite(
                            name: "embeddings", elementType: .float32, shape: [count, dimension], bytes: bytes)
                    ], to: path)
            case .npy:
                var data = Self.npyHeader(count: count, dimension: dimension)
                for offset in records.offsets { data.append(contentsOf: try record(offset).vector) }
                try data.write(to: URL(fileURLWithPath: path), options: .atomic)
            case .jsonLines:
                var data = Data()
                for offset in records.offsets {
                    let (text, vector) = try record(offset)
                    let numbers = vector.withUnsafeBytes { bytes in
                        (0..<dimension).map {
                            Float(
                                bitPattern: UInt32(
                                    littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
                        }
                    }
                    data.append(contentsOf: try Self.jsonLine(text, numbers[...]).utf8)
                }
                try data.write(to: URL(fileURLWithPath: path), options: .atomic)
            }
        } catch let error as SafetensorsError {
            throw CommandFailure.failure(error.description)
        } catch let error as CocoaError {
            throw CommandFailure.failure("cannot write '\(path)': \(error.localizedDescription)")
        }
        try handle.close()
        try? FileManager.default.removeItem(atPath: partPath)
    }

    private func record(_ offset: Int) throws -> (text: String, vector: [UInt8]) {
        try handle.seek(toOffset: UInt64(offset))
        let length = try handle.read(upToCount: 8)?.littleEndianInteger ?? 0
        let text = length > 0 ? try handle.read(upToCount: length) ?? Data() : Data()
        let vector = try handle.read(upToCount: 4 * dimension) ?? Data()
        guard text.count == length, vector.count == 4 * dimension else {
            throw CommandFailure.failure("'\(partPath)' has become shorter. Begin anew with --restart.")
        }
        return (String(decoding: text, as: UTF8.self), Array(vector))
    }

    /// A line of JSON; numbers that JSON has not are null.
    static func jsonLine(_ text: String, _ vector: ArraySlice<Float>) throws -> String {
        let quoted = String(decoding: try JSONValue.string(text).serialized(), as: UTF8.self)
        let numbers = vector.map { $0.isFinite ? "\($0)" : "null" }.joined(separator: ",")
        return "{\"text\":\(quoted),\"embedding\":[\(numbers)]}\n"
    }

    /// NumPy's format 1.0: a magic number, the header's length, and the header, all of it a multiple of 64 bytes.
    private static func npyHeader(count: Int, dimension: Int) -> Data {
        var text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(count), \(dimension)), }"
        let beginning: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0]
        let unpadded = beginning.count + 2 + text.utf8.count + 1
        text += String(repeating: " ", count: (64 - unpadded % 64) % 64) + "\n"
        let length = UInt16(text.utf8.count)
        return Data(beginning + [UInt8(length & 0xFF), UInt8(length >> 8)] + Array(text.utf8))
    }
}

extension Data {
    /// Eight bytes as an integer, the lowest first; `nil` of others.
    fileprivate var littleEndianInteger: Int? {
        guard count == 8 else { return nil }
        return Int(exactly: withUnsafeBytes { Int64(littleEndian: $0.loadUnaligned(as: Int64.self)) })
    }
}

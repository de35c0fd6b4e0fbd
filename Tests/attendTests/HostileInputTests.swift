import Attention
import FileFuzzing
import Foundation
import ModelFiles
import TestSupport
import Testing

@testable import attend

/// What the command reads beside models: masks, tensors, lines of texts, and the part of an output that was interrupted.
@Suite struct `What the command reads` {
    private final class Folder: Sendable {
        let path = "\(TestEnvironment.temporaryFolder)/hostile-\(UUID().uuidString)"

        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: path) }

        func write(_ name: String, _ bytes: [UInt8]) throws -> String {
            try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
            return "\(path)/\(name)"
        }
    }

    @Test func `masks of any text are masks or refused`() {
        var random = FuzzRandom(seed: 1)
        let seeds = [
            "none", "causal", "causal:-3", "window:128,0|prefix:4", "lengths:1,2 & documents:0,0,1", "window:*,2,5",
            "file",
            "causal:9223372036854775807", "window:1099511627776,*,-1099511627776 & prefix:-1",
        ]
        for _ in 0..<3000 {
            var text = random.pick(seeds)
            for _ in 0...random.index(3) {
                let other = random.pick(seeds)
                let cut = text.utf8.count == 0 ? 0 : random.index(text.utf8.count + 1)
                switch random.index(3) {
                case 0: text = String(text.unicodeScalars.prefix(cut)) + String(other.unicodeScalars.suffix(cut))
                case 1: text += ["&", "|", ":", ",", " ", "*", "-", "9"][random.index(8)] + other
                default:
                    let bytes = TextMutation.mutated(Array(text.utf8), &random) ?? []
                    text = String(decoding: bytes, as: UTF8.self)
                }
            }
            guard let mask = try? MaskExpression.mask(text, batchCount: 1, booleans: nil) else { continue }
            // A mask that does not suit the operands is refused in words; one that does, is computed with.
            let queries = Tensor([0.5, 1], shape: [1, 1, 2, 1])
            let operation = AttentionOperation(mask: mask)
            if operation.problem(queries: queries, keys: queries, values: queries) == nil {
                #expect(operation(queries: queries, keys: queries, values: queries).shape == [1, 1, 2, 1], "\(text)")
            }
        }
    }

    @Test func `tensors of damaged JSON are read or refused`() throws {
        let folder = try Folder()
        let seed = Array(#"{"queries":[[[[1,-0.5],[2,1e-3]]]],"mask":[[true,false]],"empty":[],"scalar":3}"#.utf8)
        var random = FuzzRandom(seed: 2)
        var readCount = 0
        for _ in 0..<2000 {
            guard let bytes = JSONMutation.mutated(seed, &random) else { continue }
            let path = try folder.write("tensors.json", bytes)
            guard let tensors = try? TensorFile.read(path) else { continue }
            readCount += 1
            for tensor in tensors.values { #expect(!tensor.shape.contains(0)) }
        }
        #expect(readCount > 0)
    }

    @Test func `lines of any bytes are texts or refused`() throws {
        let folder = try Folder()
        var random = FuzzRandom(seed: 3)
        for _ in 0..<500 {
            var bytes = (0..<random.index(40)).map { _ in random.pick([0, 10, 13, 65, 0xC3, 0xA9, 0xFF] as [UInt8]) }
            if random.oneIn(2) { bytes = TextMutation.mutated(bytes, &random) ?? [] }
            let reader = try LineReader(try folder.write("lines.txt", bytes))
            var byteCount = 0
            do {
                while let line = try reader.next() {
                    byteCount += line.byteCount
                    #expect(!line.text.utf8.contains(10))
                }
                #expect(byteCount == bytes.count)
            } catch is CommandFailure {}
        }
    }

    @Test func `a damaged part of an output is gone on with or refused`() throws {
        let folder = try Folder()
        let path = "\(folder.path)/vectors.npy"
        func begin() throws -> EmbeddingOutput {
            try EmbeddingOutput(path: path, dimension: 2, settings: "s", restart: false)
        }
        let output = try begin()
        try output.write(["a", "bc", ""], [1, 2, 3, 4, 5, 6], 2)
        let part = try Array(Data(contentsOf: URL(fileURLWithPath: "\(path).part")))
        var random = FuzzRandom(seed: 4)
        for _ in 0..<500 {
            var bytes = part
            for _ in 0...random.index(2) {
                let place = random.index(bytes.count)
                switch random.index(3) {
                case 0: bytes.removeSubrange(place...)
                case 1: bytes[place] = UInt8(truncatingIfNeeded: random.edge())
                default:
                    let number = withUnsafeBytes(of: random.edge().littleEndian) { Array($0) }
                    bytes.replaceSubrange(place..<min(bytes.count, place + 8), with: number)
                }
                if bytes.isEmpty { bytes = [0] }
            }
            _ = try folder.write("vectors.npy.part", bytes)
            do {
                let output = try begin()
                // Not more than there are bytes for.
                #expect(output.keptCount <= bytes.count / 16)
                _ = try output.pending(["a", "bc", ""])
            } catch is CommandFailure {}
        }
    }
}

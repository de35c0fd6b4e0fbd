import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `attend embed` {
    private let command: Command
    private var model: String { "\(command.folder)/model" }

    init() throws {
        command = try Command()
        try TinyBERT().write(to: "\(command.folder)/model")
        try TinyBERT().writeSentenceFiles(to: "\(command.folder)/model")
    }

    private func vectors(_ lines: String) throws -> [(text: String, vector: [Double])] {
        try lines.split(separator: "\n").map { line in
            let value = try JSONValue(parsing: Array(line.utf8))
            return (
                try #require(value["text"]?.stringValue),
                try #require(value["embedding"]?.arrayValue).compactMap(\.doubleValue)
            )
        }
    }

    private func write(_ name: String, _ text: String) throws -> String {
        let path = "\(command.folder)/\(name)"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test func `gives a line of JSON for each line, empty ones too`() throws {
        let result = try command.run("embed", "--model", model, input: Array("the cat\n\nabc \"x\"\r\nlast".utf8))
        #expect(result.status == 0, "\(result.error)")
        let found = try vectors(result.output)
        #expect(found.map(\.text) == ["the cat", "", "abc \"x\"", "last"])
        for (_, vector) in found {
            #expect(vector.count == 24 && abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
        }
        let file = try write("lines.txt", "the cat\n\nabc \"x\"\nlast\n")
        #expect(try command.run("embed", "--model", model, file, "--no-map").output == result.output)
        let json = try write("lines.jsonl", "{\"body\": \"the cat\"}\n\"\"\n{\"body\": \"abc \\\"x\\\"\"}\n\"last\"\n")
        #expect(try command.run("embed", "--model", model, json, "--field", "body").output == result.output)
    }

    @Test func `writes files, which appear whole`() throws {
        let lines = (0..<700).map { "the cat \($0 % 7)" }
        let input = try write("many.txt", lines.joined(separator: "\n"))
        let expected = try vectors(command.run("embed", "--model", model, input).output)
        #expect(expected.map(\.text) == lines)
        for name in ["out.jsonl", "out.safetensors", "out.npy"] {
            let output = "\(command.folder)/\(name)"
            let result = try command.run("embed", "--model", model, input, "--output", output)
            #expect(result.status == 0 && result.output.isEmpty, "\(result.error)")
            #expect(!FileManager.default.fileExists(atPath: "\(output).part"))
            let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: output)))
            func floats(_ bytes: ArraySlice<UInt8>) -> [Float] {
                Array(bytes).withUnsafeBytes { bytes in
                    (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
                }
            }
            switch name {
            case "out.jsonl": #expect(try vectors(String(decoding: bytes, as: UTF8.self)).map(\.text) == lines)
            case "out.npy":
                #expect(bytes.count % 64 == 0 || bytes.count == 128 + 4 * 24 * 700)
                #expect(String(decoding: bytes[10..<128], as: UTF8.self).contains("'shape': (700, 24)"))
                #expect(floats(bytes[128...]).map(Double.init).count == 700 * 24)
                #expect(floats(bytes[128...].prefix(96)).map { Double("\($0)") } == expected[0].vector)
            default:
                let tensor = try SafetensorsFile(path: output).requireTensor(named: "embeddings")
                #expect(tensor.shape == [700, 24])
                let last = Array(tensor.data.withUnsafeBytes { Array($0) }.suffix(96))
                #expect(floats(last[...]).map { Double("\($0)") } == expected[699].vector)
            }
        }
    }

    @Test func `goes on after an interruption`() throws {
        let lines = (0..<1200).map { "abc \($0 % 5)" }
        let (input, output) = (try write("many.txt", lines.joined(separator: "\n")), "\(command.folder)/out.npy")
        let call = ["embed", "--model", model, input, "--output", output]
        #expect(try command.run(call).status == 0)
        let whole = try Data(contentsOf: URL(fileURLWithPath: output))
        // A line that cannot be read ends a run in the middle, after two batches are done.
        let bad = try write("many.txt", (lines.prefix(1100) + ["\u{0}"]).joined(separator: "\n"))
        var bytes = try Data(contentsOf: URL(fileURLWithPath: bad))
        bytes[bytes.count - 1] = 0xFF
        try bytes.write(to: URL(fileURLWithPath: bad))
        try FileManager.default.removeItem(atPath: output)
        try command.fail(call, status: 1, saying: ["line 1101", "UTF-8"])
        #expect(!FileManager.default.fileExists(atPath: output))
        // What was written last may be torn.
        let part = try FileHandle(forUpdating: URL(fileURLWithPath: "\(output).part"))
        try part.truncate(atOffset: try part.seekToEnd() - 5)
        try part.close()
        _ = try write("many.txt", lines.joined(separator: "\n"))
        let result = try command.run(call)
        #expect(result.status == 0 && result.error.contains("going on after 1023 texts"), "\(result.error)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: output)) == whole)
    }

    @Test func `refuses the part of another run`() throws {
        let (input, output) = (try write("a.txt", "abc\nxyz\n"), "\(command.folder)/out.npy")
        let call = ["embed", "--model", model, input, "--output", output]
        for text in ["", "nothing of ours"] {
            _ = try write("out.npy.part", text)
            try command.fail(call, status: 1, saying: ["out.npy.part", "--restart"])
        }
        #expect(try command.run(call + ["--restart"]).status == 0)
    }

    @Test func `says what is wrong`() throws {
        try command.fail(
            ["embed", "--model", model, "--output", "a.txt"], status: 64, saying: [".npy"])
        try command.fail(["embed", "--model", model, "/absent.txt"], status: 1, saying: ["/absent.txt"])
        try command.fail(["embed", "--model", "absent"], status: 1, saying: ["no model 'absent'"])
        try command.fail(
            ["embed", "--model", model, "--jsonl"], status: 1, saying: ["line 2", "text"],
            input: Array("{\"text\": \"a\"}\n{\"other\": 1}\n".utf8))
        try command.fail(["embed", "--model", model], status: 1, saying: ["UTF-8"], input: [0xFF])
    }
}

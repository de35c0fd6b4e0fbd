import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `attend explain` {
    private let command: Command
    private let model: String

    init() throws {
        command = try Command()
        model = try command.write("tiny.gguf", TinyLlama().contents.bytes)
    }

    private func fail(
        _ arguments: String..., status: Int32 = 64, saying parts: [String], input: [UInt8] = [],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try command.fail(
            arguments + ["--model", model], status: status, saying: parts, input: input,
            sourceLocation: sourceLocation)
    }

    @Test func `shows the picture`() throws {
        let result = try command.run("a hello the world", "--model", model, "--target", "the")
        #expect(result.status == 0)
        #expect(result.error.isEmpty)
        #expect(result.output.hasPrefix("tiny: what \"the\" (word 2) attends to, mean of 2 layers × 4 heads\n"))
        #expect(result.output.contains("Most likely after \"the\":"))
        #expect(result.output.contains("comes later"))
        let explicit = try command.run("explain", "a hello the world", "--model", model, "--target", "2")
        #expect(explicit.output == result.output)
    }

    @Test func `takes a folder with one model`() throws {
        let result = try command.run("a b", "--model", command.folder)
        #expect(result.status == 0)
        #expect(result.output.hasPrefix("tiny: "))
    }

    @Test func `prints one JSON object`() throws {
        let json = try command.run("a hello the world", "--model", model, "--json", "--top", "3").json()
        #expect(json["model"]?.stringValue == "tiny")
        #expect(json["target"]?["index"]?.integerValue == 3)
        #expect(json["words"]?.arrayValue?.compactMap { $0["text"]?.stringValue } == ["a", "hello", "the", "world"])
        #expect(json["nextWords"]?.arrayValue?.count == 3)
        #expect(json["steps"] == nil)
        let steps = try command.run(
            "a hello the world", "--model", model, "--json", "--layer", "1", "--head", "3"
        ).json()
        #expect(steps["steps"]?["keyValueHead"]?.integerValue == 1)
        #expect(steps["steps"]?["keys"]?.arrayValue?.first?["key"]?.arrayValue?.count == 8)
    }

    @Test func `prints the ladder below the picture`() throws {
        let arguments = ["a hello the world", "--model", model, "--layer", "1", "--head", "3"]
        let picture = try command.run(arguments).output
        let both = try command.run(arguments + ["--steps"])
        #expect(both.status == 0)
        #expect(both.output.hasPrefix(picture + "\nLayer 1, head 3, at "))
    }

    @Test func `shows tokens, and finds them without their space`() throws {
        let json = try command.run("a hello there", "--tokens", "--target", "hello", "--model", model, "--json").json()
        #expect(json["unit"]?.stringValue == "tokens")
        #expect(json["target"]?["text"]?.stringValue == "hello")
        #expect(json["words"]?.arrayValue?.compactMap { $0["text"]?.stringValue }.joined() == "a hello there")
    }

    @Test func `gives the same for any number of threads`() throws {
        let one = try command.run("a hello the world", "--model", model, "--json", "--threads", "1")
        #expect(one.status == 0)
        for count in ["2", "7", "512"] {
            let many = try command.run("a hello the world", "--model", model, "--json", "--threads", count)
            #expect(many.output == one.output)
        }
    }

    @Test func `colours on demand`() throws {
        let escape = "\u{1B}["
        func output(_ arguments: [String], _ environment: [String: String] = [:]) throws -> String {
            try command.run(["a b", "--model", model] + arguments, environment: environment).output
        }
        #expect(try !output([]).contains(escape))
        #expect(try !output(["--color", "never"]).contains(escape))
        #expect(try output(["--color", "always"]).contains(escape))
        // Asked for by name, it comes whatever the environment prefers.
        #expect(try output(["--color", "always"], ["NO_COLOR": "1"]).contains(escape))
        #expect(try !output(["--color", "auto"], ["NO_COLOR": "1"]).contains(escape))
        #expect(try !output(["--color", "always", "--json"]).contains(escape))
    }

    // MARK: - Standard input

    @Test func `reads a sentence from standard input`() throws {
        let argument = try command.run("a hello the", "--model", model)
        for end in ["", "\n", "\r\n"] {
            let piped = try command.run("-", "--model", model, input: Array("a hello the\(end)".utf8))
            #expect(piped.status == 0)
            #expect(piped.output == argument.output, "\(end.debugDescription)")
        }
    }

    @Test(
        arguments: [
            ([0xFF], 0), (Array("ab".utf8) + [0xC3], 2), (Array("é".utf8) + [0xC3, 0x28, 0x61], 2),
            (Array("京".utf8) + [0xE4, 0xBA] + Array(" and more".utf8), 3), (Array("a".utf8) + [0xED, 0xA0, 0x80], 1),
            (Array("abc".utf8) + [0xF5, 0x80, 0x80, 0x80], 3), (Array("abcd".utf8) + [0xC0, 0x80], 4),
        ] as [([UInt8], Int)])
    func `names the byte of standard input that is not UTF-8`(input: [UInt8], offset: Int) throws {
        try fail("-", status: 1, saying: ["standard input is not UTF-8", "at byte \(offset))"], input: input)
    }

    @Test func `refuses empty sentences`() throws {
        for sentence in ["", "  ", "\n", "\u{3000}"] { try fail(sentence, saying: ["The sentence is empty"]) }
        try fail("-", saying: ["The sentence is empty"])
        try fail("-", saying: ["The sentence is empty"], input: Array("\n".utf8))
    }

    // MARK: - The sentence, the target, the layer and the head

    @Test func `refuses a target that is not in the sentence, and lists the words`() throws {
        try fail("a hello the", "--target", "dog", saying: ["'dog' is not in the sentence", "0 a, 1 hello, 2 the"])
        try fail("a hello the", "--target", "3", saying: ["'3' is not in the sentence"])
        try fail("a hello the", "--target", "", saying: ["is not in the sentence"])
    }

    @Test func `refuses an ambiguous target, and lists its positions`() throws {
        try fail("the a the", "--target", "the", saying: ["'the' occurs 2 times", "positions 0, 2", "such as #2"])
        for target in ["2", "#2"] {
            let result = try command.run("the a the", "--target", target, "--model", model)
            #expect(result.status == 0)
            #expect(result.output.contains("\"the\" (word 2)"))
        }
    }

    @Test func `refuses a sentence longer than the context`() throws {
        try fail(String(repeating: "z", count: 97), saying: ["has 97 tokens", "at most 96"])
    }

    @Test func `refuses layers and heads that do not exist`() throws {
        try fail("a b", "--layer", "2", saying: ["no layer 2", "from 0 to 1"])
        try fail("a b", "--layer=-1", saying: ["no layer -1"])
        try fail("a b", "--layer", "0", "--head", "4", saying: ["no head 4", "from 0 to 3"])
        try fail("a b", "--layer", "0", "--head=-1", saying: ["no head -1"])
        try fail("a b", "--steps", saying: ["--layer and --head"])
        try fail("a b", "--head", "1", saying: ["--head needs its --layer"])
    }

    // MARK: - The model's file

    @Test func `lists where it looked for a model, and the command that fetches one`() throws {
        let environment = ["XDG_CACHE_HOME": command.folder]
        let models = "\(command.folder)/swift-attention/models"
        try command.fail(
            ["a b", "--model", "absent"], status: 1,
            saying: [
                "no model 'absent'", "\n  absent\n", "\(models)/absent\n", "\(models)/absent.gguf", "fetch-model",
            ],
            environment: environment)
        try command.fail(
            ["a b"], status: 1, saying: ["\(models)/SmolLM2-135M-Instruct.Q4_1.gguf", "fetch-model"],
            environment: environment)
        try command.fail(
            ["a b", "--model", "/absent/model.gguf"], status: 1, saying: ["/absent/model.gguf", "fetch-model"],
            environment: environment)
    }

    // Not the cache's folder with nothing behind it, where a single model would be found.
    @Test func `refuses an empty name of a model`() throws {
        let models = "\(command.folder)/swift-attention/models"
        try FileManager.default.createDirectory(atPath: models, withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: model, toPath: "\(models)/tiny.gguf")
        try command.fail(
            ["a b", "--model", ""], status: 64, saying: ["name is empty"],
            environment: ["XDG_CACHE_HOME": command.folder])
    }

    @Test func `refuses files that are no models`() throws {
        let whole = TinyLlama().contents.bytes
        var generator = SeededGenerator(seed: 5)
        let random = (0..<5000).map { _ in UInt8.random(in: 0 ... .max, using: &generator) }
        let files = try [
            "empty": [], "magic": Array("GGUF".utf8), "half": Array(whole[..<(whole.count / 2)]),
            "header": Array(whole[..<200]), "last": Array(whole.dropLast(64)), "random": random,
            "text": Array("This is a model.\n".utf8), "headed": Array(whole[..<24]) + random,
        ].mapValues { $0 }.map { name, bytes in try command.write("\(name).gguf", bytes) }
        for file in files {
            let result = try command.fail(["a b", "--model", file], status: 1, saying: [file])
            #expect(result.error.split(separator: "\n").count <= 3, "\(result.error)")
        }
        var other = TinyLlama().contents
        other["general.architecture"] = .string("bert")
        let file = try command.write("bert.gguf", other.bytes)
        try command.fail(["a b", "--model", file], status: 1, saying: ["family 'bert'"])
    }

    @Test func `refuses folders without a model, and with several`() throws {
        let empty = "\(command.folder)/empty"
        try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: true)
        try command.fail(["a b", "--model", empty], status: 1, saying: ["holds no .gguf file"])
        _ = try command.write("other.gguf", [])
        try command.fail(
            ["a b", "--model", command.folder], status: 1, saying: ["holds 2 models", "other.gguf, tiny.gguf"])
        try FileManager.default.createDirectory(atPath: "\(empty)/a.gguf", withIntermediateDirectories: true)
        try command.fail(["a b", "--model", empty], status: 1, saying: ["a.gguf"])
    }

    // Opening one as a file would wait for ever.
    @Test func `refuses a pipe as a model`() throws {
        #expect(try command.shell("mkfifo \"$FOLDER/pipe.gguf\"").status == 0)
        try command.fail(["a b", "--model", "\(command.folder)/pipe.gguf"], status: 1, saying: ["pipe.gguf"])
        try command.fail(["a b", "--model", "/dev/zero"], status: 1, saying: ["/dev/zero"])
    }

    @Test func `says that a model's numbers are not finite`() throws {
        var contents = TinyLlama().contents
        contents[tensor: "output_norm.weight"] = GGUFContents.Tensor(
            "output_norm.weight", dimensions: [32], [Float](repeating: .nan, count: 32))
        let file = try command.write("nan.gguf", contents.bytes)
        for arguments in [[], ["--json"], ["--layer", "0", "--head", "0", "--steps"]] {
            try command.fail(["a b", "--model", file] + arguments, status: 1, saying: ["not finite"])
        }
    }
}

@Suite struct `attend explain writes files` {
    private let command: Command
    private let model: String
    private let text = "a hello <b> the"

    init() throws {
        command = try Command()
        model = try command.write("tiny.gguf", TinyLlama().contents.bytes)
    }

    @Test(arguments: ["word", "grid", "head", "steps", "similarity"])
    func `every view in every format`(view: String) throws {
        let place = "\(command.folder)/view"
        let beginnings = ["svg": "<svg", "html": "<!DOCTYPE html>", "json": "{", "csv": "", "text": ""]
        for (format, beginning) in beginnings {
            let arguments = [
                "explain", "--model", model, "--view", view, "--layer", "1", "--head", "2", "--format", format, text,
            ]
            let printed = try command.run(arguments)
            #expect(printed.status == 0 && printed.error.isEmpty, "\(printed.error)")
            #expect(printed.output.hasPrefix(beginning) && printed.output.count > 40)
            let written = try command.run(arguments + ["-o", place])
            #expect(written.status == 0 && written.output.isEmpty && written.error.isEmpty, "\(written.error)")
            #expect(try String(contentsOfFile: place, encoding: .utf8) == printed.output)
        }
    }

    @Test func `the ending says the format`() throws {
        for (ending, beginning) in ["svg": "<svg", "html": "<!DOCTYPE html>", "json": "{", "csv": "position"] {
            let place = "\(command.folder)/view.\(ending)"
            #expect(try command.run(text, "--model", model, "-o", place).status == 0)
            #expect(try String(contentsOfFile: place, encoding: .utf8).hasPrefix(beginning))
        }
    }

    @Test func `PNG takes a program, and its absence is said`() throws {
        try command.fail(
            [text, "--model", model, "--format", "png"], status: 1, saying: ["rsvg-convert", "librsvg2-bin"],
            environment: ["PATH": command.folder])
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let isInstalled = path.split(separator: ":").contains {
            FileManager.default.isExecutableFile(atPath: "\($0)/rsvg-convert")
        }
        guard isInstalled else { return }
        let place = "\(command.folder)/view.png"
        #expect(try command.run(text, "--model", model, "--width", "360", "-o", place).status == 0)
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: place)))
        #expect(bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]))
        // The width, in the first chunk: two pixels for each.
        #expect(bytes[16..<20].reduce(0) { $0 << 8 | Int($1) } == 720)
    }

    @Test func `refuses what cannot be drawn or written`() throws {
        for (arguments, status, part) in [
            (["--view", "steps"], 64, "layer and its head"), (["--view", "nothing"], 64, "nothing"),
            (["--view", "word", "--format", "svg", "--width", "10"], 64, "320 to 4096"),
            (["--view", "word", "--format", "svg", "--mass", "0"], 64, "above 0"),
            (["--format", "csv", "--json"], 64, "contradict"), (["-o", ""], 64, "empty"),
            (["-o", "/absent/view.svg"], 1, "/absent/view.svg"),
        ] as [([String], Int32, String)] {
            try command.fail([text, "--model", model] + arguments, status: status, saying: [part])
        }
    }
}

@Suite(.enabled(if: SmolLM2.isTested, "SmolLM2's file is absent"))
struct `attend explain with SmolLM2` {
    private let command: Command

    init() throws {
        command = try Command()
    }

    @Test func `shows the sentence of the README`() throws {
        let result = try command.run("The FBI is chasing", "--target", "chasing", "--model", SmolLM2.path)
        #expect(result.status == 0)
        #expect(result.error.isEmpty)
        #expect(result.output.contains("what \"chasing\" (word 3) attends to, mean of 30 layers × 9 heads"))
        #expect(result.output.contains("(an attention sink)"))
        for word in ["0 The", "1 FBI", "2 is", "3 chasing"] { #expect(result.output.contains(" \(word) ")) }
    }

    @Test func `refuses a sentence of more than 8192 tokens`() throws {
        let sentence = String(repeating: "chasing ", count: 8192)
        try command.fail(
            ["-", "--model", SmolLM2.path], status: 64, saying: ["tokens", "at most 8192"],
            input: Array(sentence.utf8))
    }
}

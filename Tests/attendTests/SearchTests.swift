import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `attend search` {
    private let command: Command
    private var index: String { "\(command.folder)/index.sqlite" }
    private var options: [String] { ["--index", index] }
    private var model: [String] { ["--model", "\(command.folder)/model"] }

    init() throws {
        command = try Command()
        try TinyBERT().write(to: "\(command.folder)/model")
        try TinyBERT().writeSentenceFiles(to: "\(command.folder)/model")
    }

    private func add(_ files: String...) throws -> Command.Result {
        try command.run(["search", "add"] + files + options + model)
    }

    /// Every text of the index, with its places, sorted.
    private func contents() throws -> [String] {
        let result = try command.run(["search", "the", "--count", "100000", "--json"] + options)
        #expect(result.status == 0, "\(result.error)")
        return try #require(result.json()["hits"]?.arrayValue).map { hit in
            let places = try hit["places"]?.serialized() ?? []
            return "\(hit["text"]?.stringValue ?? "") \(hit["score"]?.doubleValue ?? 0) "
                + String(decoding: places, as: UTF8.self)
        }.sorted()
    }

    @Test func `adds, finds, explains, updates and removes`() throws {
        let file = try command.write("a.txt", "the cat\n\nabc \"x\"\r\nthe dog\nthe cat\n")
        let json = try command.write("b.jsonl", "{\"body\": \"x y z\"}\n\"the cat\"\n")
        #expect(try add(file).output == "\(file): 4 texts, 3 of them embedded\n")
        var result = try command.run(["search", "add", json, "--field", "body"] + options)
        #expect(result.output == "\(json): 2 texts, 1 of them embedded\n", "\(result.error)")
        // The model is the index's own.
        result = try command.run(["search", "query", "the cat", "--count", "2"] + options)
        #expect(result.output.hasPrefix(" 1.000  the cat\n        \(file):1 and 2 more\n"), "\(result.output)")
        #expect(result.output.split(separator: "\n").count == 4)
        result = try command.run(["search", "the cat", "--count", "1", "--explain"] + options)
        #expect(result.output.hasSuffix("the → the  1.000 · cat → cat  1.000\n"), "\(result.output)")
        result = try command.run(["search", "-", "--json", "--explain"] + options, input: Array("the cat\nx\n".utf8))
        let answers = try result.output.split(separator: "\n").map { try JSONValue(parsing: Array($0.utf8)) }
        #expect(answers.map { $0["query"]?.stringValue } == ["the cat", "x"])
        let hit = try #require(answers.first?["hits"]?.arrayValue?.first)
        #expect(hit["text"]?.stringValue == "the cat" && hit["placeCount"]?.integerValue == 3)
        #expect(hit["places"]?.arrayValue?.last?["line"]?.integerValue == 2)
        #expect(hit["matches"]?.arrayValue?.map { $0["text"]?.stringValue } == ["the", "cat"])

        _ = try command.write("a.txt", "new\nthe cat\nthe dog\n")
        #expect(try add(file).output == "\(file): 3 texts, 1 of them embedded\n")
        result = try command.run(["search", "info", "--json"] + options)
        #expect(try result.json()["texts"]?.integerValue == 4, "\(result.output)")
        #expect(try result.json()["sources"]?.arrayValue?.map { $0["lines"]?.integerValue } == [3, 2])
        #expect(try command.run(["search", "info"] + options).output.contains("\(file): 3 lines\n"))
        #expect(try command.run(["search", "remove", file] + options).output == "\(file): 3 texts removed\n")
        #expect(try contents().count == 2)
    }

    @Test func `keeps its index where the system wants it`() throws {
        let file = try command.write("a.txt", "the cat\n")
        let environment = ["XDG_DATA_HOME": "\(command.folder)/data"]
        var result = try command.run(["search", "add", file] + model, environment: environment)
        #expect(result.status == 0, "\(result.error)")
        #expect(FileManager.default.fileExists(atPath: "\(command.folder)/data/swift-attention/search.sqlite"))
        result = try command.run(["search", "cat"], environment: environment)
        #expect(result.status == 0 && result.output.contains("the cat"), "\(result.error)")
    }

    @Test func `loses nothing when it is killed, and goes on`() throws {
        let lines = (0..<6000).map { number in
            "the "
                + "\(number)".map { "\(Character(Unicode.Scalar(UInt8(97 + ($0.wholeNumberValue ?? 0))))) " }.joined()
        }
        let before = try command.write("many.txt", lines[..<700].joined(separator: "\n"))
        #expect(try add(before).status == 0)
        let first = try contents()
        _ = try command.write("many.txt", lines[500...].joined(separator: "\n"))
        let call = ["search", "add", before] + options
        var (killCount, embedded) = (0, 0)
        for delay in [0.15, 0.3, 0.45, 0.6, 0.8, 1, 1.2] {
            let start = Date()
            let (result, isKilled) = try command.run(call, sending: SIGKILL) { Date().timeIntervalSince(start) > delay }
            guard isKilled else {
                #expect(result.status == 0, "\(result.error)")
                break
            }
            killCount += 1
            // All that was there before is there still.
            let now = try contents()
            #expect(now.count >= max(first.count, embedded))
            embedded = now.count
            let texts = Set(now.map { $0.split(separator: "[")[0] })
            #expect(lines[..<700].allSatisfy { line in texts.contains { $0.hasPrefix(line) } })
        }
        #expect(killCount > 0)
        let result = try command.run(call)
        #expect(result.status == 0, "\(result.error)")
        let resumed = try contents()
        try FileManager.default.removeItem(atPath: index)
        for ending in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: index + ending) }
        #expect(try add(before).status == 0)
        #expect(try contents() == resumed)
        #expect(resumed.count == 5500)
    }

    @Test func `ends in good order when it is asked to`() throws {
        let lines = (0..<20_000).map { "the \($0)" }
        let file = try command.write("many.txt", lines.joined(separator: "\n"))
        let (result, isKilled) = try command.run(["search", "add", file] + options + model, sending: SIGTERM) {
            FileManager.default.fileExists(atPath: index + "-wal")
        }
        #expect(!isKilled && (result.status == 0 || result.error.contains("the same call goes on")), "\(result.error)")
        #expect(result.status == 0 || result.status == 143)
    }

    @Test func `says what is wrong`() throws {
        let file = try command.write("a.txt", "the cat\n")
        try command.fail(["search", "x"] + options + model, status: 1, saying: ["no index", index])
        try command.fail(["search", "add", "/absent.txt"] + options + model, status: 1, saying: ["/absent.txt"])
        #expect(!FileManager.default.fileExists(atPath: index))
        let bad = try command.write("bad.txt", [0x61, 0x0A, 0xFF])
        try command.fail(["search", "add", bad] + options + model, status: 1, saying: ["line 2", "UTF-8"])
        try command.fail(["search", "add", file, "--jsonl"] + options + model, status: 1, saying: ["not JSON"])
        // What was read before the fault stays, and is none of the source's once it is added whole.
        #expect(try add(file).status == 0)
        for query in ["", "  "] {
            try command.fail(["search", query] + options, status: 64, saying: ["query is empty"])
        }
        try command.fail(["search", "-"] + options, status: 64, saying: ["query is empty"], input: [0x0A])
        try command.fail(["search", "-"] + options, status: 1, saying: ["UTF-8"], input: [0xFF])
        try command.fail(["search", "x", "--count", "0"] + options, status: 64, saying: ["--count is 0"])
        try command.fail(["search", "add", "-"] + options, status: 64, saying: ["--source"])
        try command.fail(["search", "add", file, "--source", ""] + options, status: 64, saying: ["--source"])
        try command.fail(["search", "remove", "/nowhere"] + options, status: 1, saying: ["nothing of '/nowhere'"])
        let long = try command.run(["search", String(repeating: "cat ", count: 400)] + options)
        #expect(long.status == 0 && long.error.contains("first 12 tokens") && long.output.contains("the cat"))
        #expect(try command.run(["search", "remove", file] + options).status == 0)
        for source in [bad] { #expect(try command.run(["search", "remove", source] + options).status <= 1) }
        let empty = try command.run(["search", "cat", "--json"] + options)
        #expect(empty.status == 0 && empty.error.contains("the index is empty"), "\(empty.output)")
        #expect(try empty.json()["hits"]?.arrayValue?.isEmpty == true)

        try TinyBERT(seed: 9).write(to: "\(command.folder)/other")
        try TinyBERT(seed: 9).writeSentenceFiles(to: "\(command.folder)/other")
        try command.fail(
            ["search", "add", file, "--model", "\(command.folder)/other"] + options, status: 1,
            saying: ["vectors of 'model'", "'other'"])
        let text = try command.write("text.sqlite", String(repeating: "no database ", count: 400))
        try command.fail(["search", "x", "--index", text] + model, status: 1, saying: ["no index of sentences", text])
        try command.fail(
            ["search", "add", file, "--index", "/proc/index.sqlite"] + model, status: 1,
            saying: ["'/proc/index.sqlite' cannot be written"])
    }

    #if os(Linux)
        @Test func `says so where it may not write`() throws {
            let file = try command.write("a.txt", "the cat\n")
            #expect(try add(file).status == 0)
            // Whoever may do everything may also write a file that is read-only: then somebody else tries.
            let other = geteuid() == 0 ? "setpriv --reuid 65534 --clear-groups " : ""
            let call = "\(other)$ATTEND search add $FOLDER/a.txt --index $FOLDER/index.sqlite --model $FOLDER/model"
            let result = try command.shell("chmod 755 $FOLDER; chmod 444 $FOLDER/index.sqlite; \(call)")
            #expect(result.status == 1 && result.error.contains("cannot be written"), "\(result.error)")
        }
    #endif

    @Test func `waits for another process that writes, and not for ever`() throws {
        let file = try command.write("a.txt", "the cat\n")
        #expect(try add(file).status == 0)
        // SQLite locks the file by bytes; here Python's own SQLite does.
        let hold = """
            python3 -c 'import sqlite3, sys, time
            db = sqlite3.connect(sys.argv[1], isolation_level=None)
            db.execute("BEGIN IMMEDIATE"); open(sys.argv[1] + ".held", "w"); time.sleep(float(sys.argv[2]))
            ' "$FOLDER/index.sqlite" 
            """.replacingOccurrences(of: "\n            ", with: "\n")
        func held(_ seconds: Int) throws -> Command.Result {
            try command.shell(
                "rm -f $FOLDER/index.sqlite.held; \(hold.trimmingCharacters(in: .whitespaces)) \(seconds) & "
                    + "while [ ! -e $FOLDER/index.sqlite.held ]; do sleep 0.05; done; "
                    + "$ATTEND search cat --index $FOLDER/index.sqlite && "
                    + "$ATTEND search add $FOLDER/a.txt --index $FOLDER/index.sqlite; status=$?; kill $!; exit $status")
        }
        let short = try held(2)
        #expect(short.status == 0, "\(short.error)")
        let long = try held(40)
        #expect(long.status == 1 && long.error.contains("written by another process"), "\(long.error)")
        #expect(long.output.contains("the cat"))
    }
}

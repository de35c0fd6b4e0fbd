import ArgumentParser
import Foundation
import SemanticSearch

/// `attend search add FILE...`: takes files into the index, or what has changed in them.
struct SearchAddCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Adds files, a text a line; of a file that was added before, takes over what has changed.",
        discussion: """
            Interrupted at any moment, the index has all that it had before, and the same call goes on.
            Empty lines are left out; a text that stands on several lines is embedded once.
            """)

    @Argument(
        help: ArgumentHelp(
            "Files of lines; of JSON lines where they end in .jsonl. - reads standard input.", valueName: "file"))
    var files: [String]

    @Flag(help: "Lines are JSON, whatever the files are called: objects, or strings.")
    var jsonl = false

    @Option(help: ArgumentHelp("Which member of an object is the text.", valueName: "name"))
    var field = "text"

    @Option(help: ArgumentHelp("What to call the one file instead of its path.", valueName: "name"))
    var source: String?

    @OptionGroup var model: SearchModelOptions
    @OptionGroup var index: SearchIndexOptions

    /// Enough texts that those of one length meet, few enough that an interruption costs little.
    private static let batchLength = 512

    func validate() throws {
        if files.filter({ $0 == "-" }).count > 1 { throw ValidationError("Standard input, -, is read once.") }
        if source != nil && files.count > 1 { throw ValidationError("--source names one file, not \(files.count).") }
        if source?.isEmpty == true { throw ValidationError("--source is empty. Give a name.") }
        if files.contains("-") && source == nil {
            throw ValidationError("Standard input has no name: give one with --source.")
        }
    }

    func run() throws {
        try reportingSearchFailures {
            index.common.apply()
            Interruption.watch()
            // Before anything is written: a file that is not there should not leave an empty index behind.
            var readers: [(name: String, lines: LineReader)] = []
            for file in files {
                readers.append(
                    (source ?? searchSourceName(of: file), try LineReader(file, isJSON: jsonl, field: field)))
            }
            let opened = try index.open(.create)
            let embedder = try model.embedder(for: opened)
            var progress = ProgressLine()
            let total = LineReader.byteCount(of: files)
            var readByteCount = 0
            for (name, lines) in readers {
                var update = try SourceUpdate(name, in: opened, embedder: embedder)
                var batch: [SourceUpdate.Line] = []
                func flush() throws {
                    try update.add(batch)
                    batch.removeAll(keepingCapacity: true)
                    let share = total.map { Double(readByteCount) / Double(max(1, $0)) } ?? 0
                    progress.show(share: share, text: "\(update.count.lines) texts, \(update.count.embedded) embedded")
                    if Interruption.isRequested {
                        progress.close()
                        StandardError.write(
                            "attend: interrupted after \(update.count.lines) texts of '\(name)'; the same call goes on.\n"
                        )
                        throw ExitCode(128 + Interruption.signalNumber)
                    }
                }
                while let line = try lines.next() {
                    readByteCount += line.byteCount
                    batch.append((line.number, line.text))
                    if batch.count == Self.batchLength { try flush() }
                }
                if !batch.isEmpty { try flush() }
                try update.finish()
                progress.close()
                try writeOutput("\(name): \(update.count.lines) texts, \(update.count.embedded) of them embedded\n")
            }
        }
    }
}

/// `attend search remove SOURCE...`: takes files out of the index.
struct SearchRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Removes files and what is nowhere else from the index.")

    @Argument(help: ArgumentHelp("Files as they were added, or the names that they were given.", valueName: "source"))
    var sources: [String]

    @OptionGroup var index: SearchIndexOptions

    func run() throws {
        try reportingSearchFailures {
            index.common.apply()
            let opened = try index.open(.write)
            let known = Set(try opened.summary().sources.map(\.name))
            for source in sources {
                let name = known.contains(source) ? source : searchSourceName(of: source)
                try writeOutput("\(name): \(try opened.remove(source: name)) texts removed\n")
            }
        }
    }
}

/// `attend search info`: says what the index has.
struct SearchInfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "info", abstract: "Says what the index holds.")

    @Flag(help: "One JSON object instead of lines.")
    var json = false

    @OptionGroup var index: SearchIndexOptions

    private struct Info: Encodable {
        struct Source: Encodable {
            let name: String
            let lines: Int
            let isWhole: Bool
        }
        let index, model: String
        let dimension, texts: Int
        let sources: [Source]
    }

    func run() throws {
        try reportingSearchFailures {
            let summary = try index.open(.read).summary()
            if json {
                return try writeJSON(
                    Info(
                        index: index.path, model: summary.modelName, dimension: summary.dimension,
                        texts: summary.textCount,
                        sources: summary.sources.map {
                            Info.Source(name: $0.name, lines: $0.lineCount, isWhole: $0.isWhole)
                        }))
            }
            var text = "\(index.path): \(summary.textCount) texts, vectors of \(summary.dimension) numbers of "
            text += "\(summary.modelName)\n"
            for source in summary.sources {
                text += "  \(source.name): \(source.lineCount) lines"
                text += source.isWhole ? "\n" : ", interrupted: add it again to go on\n"
            }
            try writeOutput(text)
        }
    }
}

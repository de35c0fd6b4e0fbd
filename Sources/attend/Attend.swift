import ArgumentParser
import Foundation

/// The command: attention on real models and on one's own numbers.
@main
struct Attend: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attend",
        abstract: "Shows what a language model attends to, and every number on the way.",
        discussion: """
            What the last word attends to, what another word does, every step of one head:
              attend "The FBI is chasing"
              attend "The FBI is chasing" --target FBI
              attend "The FBI is chasing" --layer 11 --head 4 --steps

            The same on a local page:
              attend view "The FBI is chasing"

            A model of your own text, what it writes, and what it looks at:
              attend train book.txt --output book
              attend generate --model book "Once upon a time"
              attend explain --model book "Once upon a time"

            A vector for each line of a file:
              attend embed sentences.txt --output sentences.npy

            Which models there are, here and in Hugging Face's cache:
              attend models list

            The lines of your files that mean what you ask, whatever their words:
              attend search add notes.txt
              attend search "where the keys are"

            The operator on your own vectors, and on an example that fits the screen:
              attend compute vectors.json --similarity cosine
              attend compute --example

            How fast all of it is on this machine:
              attend bench
            """,
        version: "0.1.0",
        subcommands: [
            ExplainCommand.self, ViewCommand.self, TrainCommand.self, GenerateCommand.self, EmbedCommand.self,
            SearchCommand.self, ModelsCommand.self, ComputeCommand.self, BenchCommand.self,
        ],
        defaultSubcommand: ExplainCommand.self)

    static func main() {
        // A reader that goes away is met where output is written, and is no error.
        signal(SIGPIPE, SIG_IGN)
        main(nil)
    }
}

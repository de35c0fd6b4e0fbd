import ArgumentParser

/// The command: attention on real models and on one's own numbers.
@main
struct Attend: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attend",
        abstract: "Shows what a language model attends to, and every number on the way.",
        discussion: """
            attend "The FBI is chasing"                          what the last word attends to
            attend "The FBI is chasing" --target FBI             … what another word does
            attend "The FBI is chasing" --layer 11 --head 4 --steps
                                                                 every step of one head
            attend compute vectors.json --similarity cosine      the operator on your own vectors
            attend compute --example                             … on an example that fits the screen
            """,
        version: "0.1.0",
        subcommands: [ExplainCommand.self, ComputeCommand.self],
        defaultSubcommand: ExplainCommand.self)
}

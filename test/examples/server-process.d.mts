export declare function installExample(folder: string, name?: string): void;

export declare class ServerProcess {
  static start(flags?: Record<string, string | number>, variables?: Record<string, string>): Promise<ServerProcess>;
  readonly exit: Promise<number | NodeJS.Signals>;
  readonly url: string;
  readonly log: string;
  signal(name: NodeJS.Signals): void;
  metrics(): Promise<Map<string, number>>;
  metric(name: string): Promise<number>;
  stop(): Promise<void>;
}

// The console for operators: jobs, workers, and where the time of a job goes.
export class Console {
  constructor(cluster, look) {
    this.cluster = cluster;
    this.look = look;
  }
  choose() {}
  show() {}
  news() {}
}

/** Quality of service (MQTT 3.1.1 §4.3). */
export type Qos = 0 | 1 | 2;
